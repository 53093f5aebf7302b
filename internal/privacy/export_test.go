package privacy

// SealVector seals with a fixed nonce, for the test vectors.
func SealVector(tenant, subject string, generation int, secret []byte, nonce [12]byte, plaintext []byte) (Envelope, error) {
	key, err := newSubjectKey(KeyID(tenant, subject, generation), secret)
	if err != nil {
		return Envelope{}, err
	}

	return key.sealWith(nonce, tenant, plaintext), nil
}

// OpenVector opens with a given key.
func OpenVector(tenant string, secret []byte, envelope Envelope) ([]byte, error) {
	key, err := newSubjectKey(envelope.KeyID, secret)
	if err != nil {
		return nil, err
	}

	return key.open(tenant, envelope)
}
