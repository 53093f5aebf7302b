// Package keys is the context of API keys for the data plane: who may call which models, at which rate and for how much.
//
// A key is ak_<tenant>.<id>.<secret>. The tenant and the id in it say where to look it up, the secret proves it: 256 random
// bits, shown once and stored as SHA-256 only. A slow password hash would protect nothing here: it makes guessing dear,
// and 256 bits can't be guessed at any price, while every call of the data plane would pay for it.
//
// Stream key-<id> is a key. Its name need not be unique; its id is.
package keys
