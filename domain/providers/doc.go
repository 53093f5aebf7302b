// Package providers is the context of model providers: what is registered, under which name, with which version of its
// secret, and how it fares.
//
// Three kinds of stream belong to a provider: provider-<id> holds its configuration, providername-<uuid5 of the name>
// makes its name unique in the tenant, providerhealth-<id> holds telemetry. A secret never enters any of them: events
// name the path and the version in the secret store.
package providers
