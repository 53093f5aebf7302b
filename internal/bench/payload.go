package bench

import "fmt"

// meta is about 110 bytes, which is what a request's actor and correlation take.
const meta = `{"actor":{"id":"8d3c2f1a","type":"user"},"method":"POST","path":"/api/v1/router/providers","status":201,"roles":[]}`

// payload is about 420 bytes, the size of a registered provider. It differs from call to call, so that no compression
// flatters it more than real data.
func payload(n int64) []byte {
	const spread, half = 2_654_435_761, 1 << 32 // Knuth's multiplier: neighbours look nothing like each other
	scattered := n * spread % half
	return fmt.Appendf(nil, `{"id":"%08x-5f1c-7e2a-9b3d-%012x","name":"Production %d","type":"openai","base_url":"https://api.example.com/v1",`+
		`"is_enabled":true,"rate_limit_rpm":600,"rate_limit_tpm":100000,"supported_models":["gpt-4o","gpt-4o-mini","text-embedding-3-small"],`+
		`"capabilities":["vision","function_calling","json_mode","streaming","embeddings"],"custom_headers":["X-Team"],`+
		`"vault_path":"secret/tenants/bench/providers/%08x"}`, scattered, n, n, scattered)
}
