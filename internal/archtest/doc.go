// Package archtest holds tests of the repository itself: which package may import which, the size and cleanliness of
// files, and the deployment files that no compiler reads.
//
// Its one invariant: every package of the module is named by the import policy, so a new one is placed on purpose.
package archtest
