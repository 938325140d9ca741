package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
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
	// Pod is what the PodIdentity extension of a certificate says, in the order of its fields.
	Pod []string `json:"pod,omitempty"`
}

// podIdentity is the struct that KEP-4317 defines the extension by.
type podIdentity struct {
	Namespace          string `asn1:"utf8,tag:0"`
	NamespaceUID       string `asn1:"utf8,tag:1"`
	ServiceAccountName string `asn1:"utf8,tag:2"`
	ServiceAccountUID  string `asn1:"utf8,tag:3"`
	PodName            string `asn1:"utf8,tag:4"`
	PodUID             string `asn1:"utf8,tag:5"`
	NodeName           string `asn1:"utf8,tag:6"`
	NodeUID            string `asn1:"utf8,tag:7"`
}

var podIdentityOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 1}

// podOf reads the PodIdentity extension, which must be the very bytes that Go would write.
func podOf(certificate *x509.Certificate) ([]string, error) {
	for _, extension := range certificate.Extensions {
		if !extension.Id.Equal(podIdentityOID) {
			continue
		}
		var pod podIdentity
		if rest, err := asn1.Unmarshal(extension.Value, &pod); err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("PodIdentity: %v, %d bytes left", err, len(rest))
		}
		if again, err := asn1.Marshal(pod); err != nil || !bytes.Equal(again, extension.Value) {
			return nil, fmt.Errorf("PodIdentity: Go writes other bytes: %v %x", err, again)
		}
		return []string{
			pod.Namespace, pod.NamespaceUID, pod.ServiceAccountName, pod.ServiceAccountUID,
			pod.PodName, pod.PodUID, pod.NodeName, pod.NodeUID,
		}, nil
	}
	return nil, nil
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
		key, pod, err := parse(asked)
		given := answer{Ok: err == nil, Key: key, Pod: pod}
		if err != nil {
			given.Error = err.Error()
		}
		if err := encoder.Encode(given); err != nil {
			return err
		}
	}
	return lines.Err()
}

func parse(asked question) (string, []string, error) {
	switch asked.Kind {
	case "spki":
		key, err := x509.ParsePKIXPublicKey(asked.DER)
		if err != nil {
			return "", nil, err
		}
		return nameOfKey(key), nil, nil
	case "csr":
		request, err := x509.ParseCertificateRequest(asked.DER)
		if err != nil {
			return "", nil, err
		}
		if request.PublicKey == nil {
			return "", nil, errors.New("unknown public key algorithm")
		}
		return nameOfKey(request.PublicKey), nil, nil
	case "certificate":
		certificate, err := x509.ParseCertificate(asked.DER)
		if err != nil {
			return "", nil, err
		}
		pod, err := podOf(certificate)
		return nameOfKey(certificate.PublicKey), pod, err
	default:
		return "", nil, fmt.Errorf("no kind %q", asked.Kind)
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
