package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
)

// parsePEM reads the CERTIFICATE blocks of a text with the parser that the API server uses.
func parsePEM(content []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, errors.New("no certificate in the file")
	}
	return certificates, nil
}

// question is one line of input to `judges parse`: DER as base64, and what it is meant to be.
type question struct {
	Kind string `json:"kind"`
	DER  []byte `json:"der"`
}

// answer says whether Go reads it, and which key is in it, in the words of our key table.
type answer struct {
	Ok    bool   `json:"ok"`
	Key   string `json:"key,omitempty"`
	Error string `json:"error,omitempty"`
}

// parseLines answers JSON lines one by one, so that a test can ask thousands of questions of one process.
func parseLines(input io.Reader, output io.Writer) error {
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 1<<20)
	encoder := json.NewEncoder(output)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		key, err := parse(asked)
		given := answer{Ok: err == nil, Key: key}
		if err != nil {
			given.Error = err.Error()
		}
		if err := encoder.Encode(given); err != nil {
			return err
		}
	}
	return lines.Err()
}

func parse(asked question) (string, error) {
	switch asked.Kind {
	case "spki":
		key, err := x509.ParsePKIXPublicKey(asked.DER)
		if err != nil {
			return "", err
		}
		return nameOfKey(key), nil
	case "csr":
		request, err := x509.ParseCertificateRequest(asked.DER)
		if err != nil {
			return "", err
		}
		if request.PublicKey == nil {
			return "", errors.New("unknown public key algorithm")
		}
		return nameOfKey(request.PublicKey), nil
	case "certificate":
		certificate, err := x509.ParseCertificate(asked.DER)
		if err != nil {
			return "", err
		}
		return nameOfKey(certificate.PublicKey), nil
	default:
		return "", fmt.Errorf("no kind %q", asked.Kind)
	}
}

func nameOfKey(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return ""
	}
}
