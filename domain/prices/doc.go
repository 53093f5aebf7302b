// Package prices is the context of what models cost: a list of public prices that comes with the program, a tenant's
// overrides of it as events, and the cost of a call.
//
// A price is known by provider type and model and holds from a date on, past or future; the usage event of a call stores
// the price that was used, so that nothing that is learnt later changes what a call cost. A model without a price is
// unpriced, which is not the same as free: only what ollama and vllm serve is free, unless a tenant says otherwise.
//
// Nothing is a float. Rates are integers of 10⁻¹⁰ USD per million tokens, sums are exact in 128 bits, and a cost is rounded
// once, half to even, to 10⁻¹⁰ USD.
package prices
