package privacy_test

import (
	"testing"

	"github.com/archonhq/archon/internal/privacy"
	"github.com/archonhq/archon/internal/secrets"
)

// BenchmarkSealClient is the hot path: every event of a request has one.
func BenchmarkSealClient(b *testing.B) {
	store, err := secrets.OpenEmbedded(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}

	keeper := privacy.NewKeeper(store)
	client := privacy.Client{IP: "203.0.113.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}

	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()

		for b.Loop() {
			if _, err := keeper.SealClient(b.Context(), tenant, subject, client); err != nil {
				b.Fatal(err)
			}
		}
	})

	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := keeper.SealClient(b.Context(), tenant, subject, client); err != nil {
					b.Error(err)
				}
			}
		})
	})

	b.Run("with JSON", func(b *testing.B) {
		b.ReportAllocs()

		buffer := make([]byte, 0, 1024)

		for b.Loop() {
			envelope, err := keeper.SealClient(b.Context(), tenant, subject, client)
			if err != nil {
				b.Fatal(err)
			}

			buffer = envelope.AppendJSON(buffer[:0])
		}
	})
}

func BenchmarkOpenClient(b *testing.B) {
	store, err := secrets.OpenEmbedded(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}

	keeper := privacy.NewKeeper(store)

	envelope, err := keeper.SealClient(b.Context(), tenant, subject, privacy.Client{IP: "203.0.113.7"})
	if err != nil {
		b.Fatal(err)
	}

	b.ReportAllocs()

	for b.Loop() {
		if _, err := keeper.OpenClient(b.Context(), tenant, envelope); err != nil {
			b.Fatal(err)
		}
	}
}
