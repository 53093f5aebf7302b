// Package costsettings is the context of what a tenant decides about its costs as a whole: in which time zone its months
// begin, and where alerts are sent.
//
// Stream costs-settings, one a tenant. An event has all of the settings; the webhook's secret is in the secret store alone, and
// events name its version.
package costsettings
