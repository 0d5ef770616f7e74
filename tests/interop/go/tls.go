package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Checks over TLS; the environment is that of tests/interop/tls/check.py.
func tlsChecks() []check {
	user, password := "admin", os.Getenv("TIDELOG_ADMIN_PASSWORD")
	return []check{
		{"franz-go by certificate", func() error { return tlsRoundTrip("TIDELOG_SSL", "carol") }},
		{"franz-go by PLAIN", func() error {
			return tlsRoundTrip("TIDELOG_SASL_SSL", "", plain.Auth{User: user, Pass: password}.AsMechanism())
		}},
		{"franz-go by SCRAM-SHA-512", func() error {
			return tlsRoundTrip("TIDELOG_SASL_SSL", "", scram.Auth{User: user, Pass: password}.AsSha512Mechanism())
		}},
		{"franz-go by OAUTHBEARER", func() error {
			return tlsRoundTrip("TIDELOG_SASL_SSL", "", oauth.Auth{Token: os.Getenv("TIDELOG_ADMIN_TOKEN")}.AsMechanism())
		}},
		{"franz-go without a certificate stays outside", func() error {
			if err := tlsRoundTrip("TIDELOG_SSL", ""); err == nil {
				return errors.New("it got in")
			}
			return nil
		}},
	}
}

func tlsRoundTrip(listener, certificate string, mechanisms ...sasl.Mechanism) error {
	folder := os.Getenv("TIDELOG_PEM")
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(ca)
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(filepath.Join(folder, certificate+".pem"), filepath.Join(folder, certificate+".key"))
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{own}
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		named := config.Clone()
		named.ServerName, _, _ = net.SplitHostPort(address)
		return (&tls.Dialer{Config: named}).DialContext(ctx, network, address)
	}
	topic := unique("franz-tls")
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv(listener)), kgo.Dialer(dial), kgo.SASL(mechanisms...), kgo.AllowAutoTopicCreation(),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RetryTimeout(10*time.Second),
		kgo.RecordRetries(3),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	value := fmt.Sprint(time.Now().UnixNano())
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		for _, record := range client.PollFetches(ctx).Records() {
			if string(record.Value) == value {
				return nil
			}
		}
	}
	return errors.New("the record does not come back")
}
