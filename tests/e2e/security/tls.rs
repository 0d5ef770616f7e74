//! Encrypted listeners: who gets in, who a certificate says somebody is, and certificates that are renewed while the server runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidelog_harness::rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tidelog_harness::{Output, Server, run, wait_until};

use crate::{PASSWORD, SECRET, listener, token};

pub(crate) const QUICK: Duration = Duration::from_secs(120);

/// Signs certificates; its own is in a file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        let key = KeyPair::generate().unwrap();
        let ca = folder.join(format!("{name}.ca"));
        fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), ca }
    }

    /// A certificate for loopback and its key, written to these files; valid until the end of `until`.
    fn sign(&self, name: &str, until: i32, cert: &Path, key: &Path) {
        let (chain, private) = self.signed(name, until, &["127.0.0.1", "localhost"]);
        fs::write(key, private).unwrap();
        fs::write(cert, chain).unwrap();
    }

    /// A certificate for these hosts and its key, both as PEM.
    pub(crate) fn signed(&self, name: &str, until: i32, hosts: &[&str]) -> (String, String) {
        let mut params =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let private = KeyPair::generate().unwrap();
        (params.signed_by(&private, &self.issuer).unwrap().pem(), private.serialize_pem())
    }
}

pub(crate) const LATER: i32 = 2999;

/// A command at an encrypted listener; what it trusts and shows is in `envs`.
pub(crate) fn at(server: &Server, name: &str, ca: &Path, envs: &[(&str, &str)], args: &[&str], input: &[u8]) -> Output {
    let mut command = server.command(args);
    command.env("TIDELOG_BROKERS", listener(server, name)).env("TIDELOG_TLS_CA", ca);
    command.envs(envs.iter().copied());
    run(&mut command, input, QUICK)
}

#[test]
fn passwords_and_records_go_encrypted_and_certificates_are_renewed() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    let [old, new, other] = ["old", "new", "other"].map(|name| Authority::new(folder.path(), name));
    old.sign("server", LATER, &cert, &key);
    let files = [cert.display().to_string(), key.display().to_string()];
    let args = ["--kafka-listen", "SASL_SSL://127.0.0.1:0", "--tls-cert", &files[0], "--tls-key", &files[1]];
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD).env("E2E_SECRET", SECRET);
    let server = Server::start(options.args(args).args(["--jwt-secret-env", "E2E_SECRET"]));
    server.run(&["user", "create", "alice"]).expect(0);
    let password = [("TIDELOG_USER", "alice"), ("TIDELOG_PASSWORD", PASSWORD)];
    let encrypted = |ca: &Path, args: &[&str], input: &[u8]| at(&server, "SASL_SSL", ca, &password, args, input);
    encrypted(&old.ca, &["topic", "create", "t"], b"").expect(0);
    let lines: String = (0..2000).map(|number| format!("{number} {}\n", "x".repeat(200))).collect();
    encrypted(&old.ca, &["produce", "t"], lines.as_bytes()).expect(0);
    let read = encrypted(&old.ca, &["consume", "t", "--limit", "2000"], b"").expect(0);
    assert_eq!(read.stdout.lines().count(), 2000);
    let token = token("alice");
    let with_token =
        [("TIDELOG_USER", "alice"), ("TIDELOG_PASSWORD", &*token), ("TIDELOG_SASL_MECHANISM", "OAUTHBEARER")];
    at(&server, "SASL_SSL", &old.ca, &with_token, &["topic", "list"], b"").expect(0);
    // Nobody without a password, nobody who does not trust it, nobody in plain text.
    let refused = at(&server, "SASL_SSL", &old.ca, &[], &["topic", "list"], b"").expect(5);
    assert!(refused.stderr.contains("TIDELOG_USER"), "{refused:?}");
    let refused = encrypted(&other.ca, &["topic", "list"], b"").expect(3);
    assert!(refused.stderr.contains("does not hold who signed"), "{refused:?}");
    let mut plain = server.command(&["topic", "list"]);
    plain.env("TIDELOG_BROKERS", listener(&server, "SASL_SSL"));
    let refused = run(&mut plain, b"", QUICK).expect(3);
    assert!(refused.stderr.contains("--tls-ca"), "{refused:?}");
    let told = "the client does not speak TLS";
    wait_until(|| server.log().lines().any(|line| line.contains(told)), QUICK, "plaintext is told in one line");
    // Nor TLS where there is none.
    let mut wrong = server.command(&["topic", "list", "--brokers", server.kafka()]);
    let refused = run(wrong.env("TIDELOG_TLS_CA", &old.ca), b"", QUICK).expect(3);
    assert!(refused.stderr.contains("leave --tls-ca"), "{refused:?}");
    wait_until(|| server.log().contains("the client speaks TLS, and this listener does not"), QUICK, "TLS is told");
    // A damaged file changes nothing; a new pair holds soon, and an expired one convinces nobody.
    fs::write(&cert, "no certificate").unwrap();
    wait_until(|| server.log().contains("the new certificates cannot be used"), QUICK, "the damage is told");
    encrypted(&old.ca, &["topic", "list"], b"").expect(0);
    new.sign("server", LATER, &cert, &key);
    let renewed = || encrypted(&new.ca, &["topic", "list"], b"").code == Some(0);
    wait_until(renewed, QUICK, "the new certificate holds");
    assert_ne!(encrypted(&old.ca, &["topic", "list"], b"").code, Some(0));
    new.sign("server", 2020, &cert, &key);
    let expired = || encrypted(&new.ca, &["topic", "list"], b"").stderr.to_lowercase().contains("expired");
    wait_until(expired, QUICK, "the certificate has expired");
}

#[test]
fn a_certificate_says_who_somebody_is_and_access_rules_hold_for_it() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let [authority, other] = ["ours", "other"].map(|name| Authority::new(folder.path(), name));
    authority.sign("server", LATER, &file("server.pem"), &file("server.key"));
    for (signs, name, subject, until) in [
        (&authority, "alice", "alice", LATER),
        (&authority, "bob", "bob", LATER),
        (&authority, "late", "alice", 2020),
        (&other, "mallory", "alice", LATER),
    ] {
        signs.sign(subject, until, &file(&format!("{name}.pem")), &file(&format!("{name}.key")));
    }
    let [cert, key, ca] = ["server.pem", "server.key", "ours.ca"].map(|name| file(name).display().to_string());
    let args = [
        "--kafka-listen",
        "SSL://127.0.0.1:0,SASL_SSL://127.0.0.1:0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--kafka-tls-client-ca",
        &ca,
        "--kafka-tls-principal-rules",
        "RULE:^O=Example,CN=([a-z]+)$/$1/,RULE:^CN=([a-z]+),O=Example$/$1/,DEFAULT",
        "--authorizer",
        "acl",
        "--super-user",
        "User:ANONYMOUS",
    ];
    let server = Server::start(tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD).args(args));
    server.run(&["topic", "create", "t"]).expect(0);
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "write", "--topic", "t"]).expect(0);
    let shown = |name: &str, args: &[&str], input: &[u8]| {
        let [cert, key] = ["pem", "key"].map(|end| file(&format!("{name}.{end}")).display().to_string());
        let envs = [("TIDELOG_TLS_CLIENT_CERT", &*cert), ("TIDELOG_TLS_CLIENT_KEY", &*key)];
        at(&server, "SSL", &authority.ca, &envs, args, input)
    };
    shown("alice", &["produce", "t"], b"x\n").expect(0);
    let refused = shown("bob", &["produce", "t"], b"x\n").expect(5);
    assert!(refused.stderr.contains("AUTHORIZATION_FAILED"), "{refused:?}");
    for (name, why) in [("late", "it has expired"), ("mallory", "has signed it")] {
        let refused = shown(name, &["produce", "t"], b"x\n").expect(5);
        assert!(!refused.stderr.contains("AUTHORIZATION") && refused.stderr.contains(why), "{name}: {refused:?}");
    }
    for args in [&["topic", "list"][..], &["produce", "t"]] {
        let refused = at(&server, "SSL", &authority.ca, &[], args, b"x\n").expect(5);
        for part in ["asks its clients for a certificate", "--tls-client-cert", "TIDELOG_TLS_CLIENT_KEY"] {
            assert!(refused.stderr.contains(part), "{args:?}: {refused:?}");
        }
    }
    // As with Kafka, who says by SASL who he is needs none.
    server.run(&["user", "create", "alice"]).expect(0);
    let password = [("TIDELOG_USER", "alice"), ("TIDELOG_PASSWORD", PASSWORD)];
    at(&server, "SASL_SSL", &authority.ca, &password, &["produce", "t"], b"y\n").expect(0);
}
