//! What a listener says of its own TLS while the server runs (KIP-226, KIP-651): by Kafka's requests, at once for new connections, and over a
//! restart.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use tidelog_harness::model::KafkaError;
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::tempfile::{TempDir, tempdir};
use tidelog_harness::{Options, Server, run, wait_until};

use crate::PASSWORD;
use crate::tls::{Authority, LATER, QUICK, at};

const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// A folder with a certificate for the start, signed by the first authority, and another authority.
struct Fixture {
    folder: TempDir,
    old: Authority,
    new: Authority,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| Authority::new(folder.path(), name));
        let (chain, key) = old.signed("server", LATER, &HOSTS);
        fs::write(folder.path().join("server.pem"), chain).unwrap();
        fs::write(folder.path().join("server.key"), key).unwrap();
        Fixture { folder, old, new }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn options(&self, listeners: &str) -> Options {
        let (cert, key) = (self.file("server.pem"), self.file("server.key"));
        let audit = self.file("audit.log");
        let args = ["--kafka-listen", listeners, "--tls-cert", &cert, "--tls-key", &key, "--audit-log", &audit];
        tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD).args(args)
    }
}

/// Settings of listener `in`: set, or (`None`) deleted. Answers error code and message.
fn alter(server: &Server, settings: &[(&str, Option<&str>)], validate_only: bool) -> (i16, String) {
    alter_of(server, "in", settings, validate_only)
}

/// Those of this listener.
fn alter_of(server: &Server, listener: &str, settings: &[(&str, Option<&str>)], validate_only: bool) -> (i16, String) {
    let change = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: (*format!("listener.name.{listener}.{name}")).into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
        ..Default::default()
    };
    let configs = settings.iter().map(change).collect();
    let resource = AlterConfigsResource { resource_type: 4, resource_name: "1".into(), configs, ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() };
    let answer = Raw::connect(server.kafka()).call(1, &request).responses.remove(0);
    (answer.error_code, answer.error_message.map(|told| told.to_string()).unwrap_or_default())
}

fn set(server: &Server, settings: &[(&str, Option<&str>)]) {
    assert_eq!(
        alter(server, settings, false),
        (0, String::new()),
        "{:?}",
        settings.iter().map(|one| one.0).collect::<Vec<_>>()
    );
}

/// Name, value and whether it is sensitive, of what listener `in` says itself.
fn described(server: &Server) -> Vec<(String, Option<String>, bool)> {
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configuration_keys: None,
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let all = Raw::connect(server.kafka()).call(4, &request).results.remove(0).configs;
    let own = all.into_iter().filter_map(|one| {
        assert!(!one.is_sensitive || one.synonyms.iter().all(|synonym| synonym.value.is_none()));
        let name = one.name.strip_prefix("listener.name.in.")?.to_owned();
        Some((name, one.value.map(|value| value.to_string()), one.is_sensitive))
    });
    own.collect()
}

/// Does a client that trusts this authority get in at this listener?
fn trusts(server: &Server, listener: &str, ca: &Path) -> bool {
    at(server, listener, ca, &[], &["topic", "list"], b"").code == Some(0)
}

#[test]
fn a_listener_gets_another_certificate_while_the_server_runs() {
    let fixture = Fixture::new();
    let (old, new) = (&fixture.old.ca, &fixture.new.ca);
    let mut server = Server::start(fixture.options("IN=SSL://127.0.0.1:0,OUT=SSL://127.0.0.1:0"));
    server.run(&["topic", "create", "t"]).expect(0);
    server.run_with(&["produce", "t"], b"before\n").expect(0);
    let mut follower = server.command(&["consume", "t", "--follow"]);
    follower.env("TIDELOG_BROKERS", crate::listener(&server, "IN")).env("TIDELOG_TLS_CA", old);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let output = follower.stdout.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    assert!(lines.recv_timeout(QUICK).unwrap().contains("before"));

    // What cannot be used is refused in one sentence, and changes nothing.
    let (chain, key) = fixture.new.signed("server", LATER, &HOSTS);
    let (_, others_key) = fixture.new.signed("server", LATER, &HOSTS);
    let (others_chain, others_own_key) = fixture.new.signed("somebody", LATER, &HOSTS);
    let (fewer_chain, fewer_key) = fixture.new.signed("server", LATER, &HOSTS[..1]);
    let (both, one) = ("ssl.keystore.certificate.chain", "ssl.keystore.key");
    let missing = fixture.file("missing.pem");
    fs::write(fixture.file("store.jks"), [0xfe, 0xed, 0xfe, 0xed]).unwrap();
    let (store, pipe) = (fixture.file("store.jks"), fixture.file("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (settings, said) in [
        (&[(both, Some(&*chain)), (one, Some(&*others_key))][..], "cannot be used together"),
        (&[(both, Some(&chain)), (one, Some("hush"))], "ssl.keystore.key has no usable private key in PEM form"),
        (&[(both, Some(&chain))], "private key is not specified"),
        (&[(both, Some(&others_chain)), (one, Some(&others_own_key))], "ssl.allow.dn.changes=true"),
        (
            &[(both, Some(&fewer_chain)), (one, Some(&fewer_key))],
            "DNS:localhost; a start with ssl.allow.san.changes=true",
        ),
        (&[("ssl.keystore.location", Some(&missing))], "missing.pem does not exist"),
        (&[("ssl.keystore.location", Some("missing.pem"))], "it takes an absolute path"),
        (&[("ssl.keystore.location", Some(&store))], "store.jks has no usable certificate in PEM form"),
        (&[("ssl.keystore.location", Some("/dev/zero"))], "/dev/zero is not a regular file of at most 1048576 bytes"),
        (&[("ssl.keystore.location", Some(&pipe))], "pipe is not a regular file of at most 1048576 bytes"),
        (&[("ssl.keystore.type", Some("JKS"))], "it can only be PEM"),
        (&[("ssl.client.auth", Some("required"))], "so that these can be verified"),
    ] {
        let (code, told) = alter(&server, settings, false);
        assert!(code == KafkaError::InvalidRequest.code() && told.contains(said) && !told.contains("hush"), "{told}");
    }
    let good = [(both, Some(&*chain)), (one, Some(&*key)), ("ssl.keystore.type", Some("PEM"))];
    assert_eq!(alter(&server, &good, true), (0, String::new()), "only judged");
    assert_eq!(described(&server), []);
    assert!(trusts(&server, "IN", old) && !trusts(&server, "IN", new));

    // It holds when the change is answered, for new connections of this listener.
    set(&server, &good);
    assert!(trusts(&server, "IN", new) && !trusts(&server, "IN", old) && trusts(&server, "OUT", old));
    server.run_with(&["produce", "t"], b"after\n").expect(0);
    assert!(lines.recv_timeout(QUICK).unwrap().contains("after"), "the old connection lives on");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let shown = [(both, None, true), (one, None, true), ("ssl.keystore.type", Some("PEM"), false)];
    let shown = shown.map(|(name, value, secret)| (name.to_owned(), value.map(str::to_owned), secret));
    assert_eq!(described(&server), shown);
    server.stop();
    server.start_again();
    assert!(trusts(&server, "IN", new) && !trusts(&server, "IN", old) && trusts(&server, "OUT", old), "over a restart");

    // From values to a file, which is read again when it changes, and back to what all listeners have.
    let path = fixture.file("in.pem");
    let renew = |authority: &Authority| {
        let (chain, key) = authority.signed("server", LATER, &HOSTS);
        fs::write(&path, key + &chain).unwrap();
    };
    renew(&fixture.old);
    set(&server, &[(both, None), (one, None), ("ssl.keystore.location", Some(&path))]);
    assert!(trusts(&server, "IN", old) && !trusts(&server, "IN", new));
    renew(&fixture.new);
    wait_until(|| trusts(&server, "IN", new), QUICK, "the renewed file holds");
    set(&server, &[("ssl.keystore.location", None)]);
    assert!(trusts(&server, "IN", old));
    set(&server, &[("ssl.keystore.location", Some(&path))]);
    assert!(trusts(&server, "IN", new));
    // AlterConfigs takes away what it does not name.
    let resource = ReplacedConfigsResource { resource_type: 4, resource_name: "1".into(), ..Default::default() };
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(Raw::connect(server.kafka()).call(2, &request).responses[0].error_code, 0);
    assert!(trusts(&server, "IN", old) && described(&server).is_empty());

    let secret = key.lines().nth(1).unwrap();
    let audit = fs::read_to_string(fixture.file("audit.log")).unwrap();
    assert!(audit.contains(one) && !audit.contains(secret) && !server.log().contains(secret));
    server.assert_no_panic();
}

#[test]
fn a_listener_asks_its_clients_for_certificates_while_the_server_runs() {
    let fixture = Fixture::new();
    // No certificate has a name by these rules: it lets somebody in, and SASL says who he is.
    let rules = ["--kafka-tls-principal-rules", "RULE:^nobody$/nobody/"];
    let server = Server::start(fixture.options("IN=SASL_SSL://127.0.0.1:0,OUT=SSL://127.0.0.1:0").args(rules));
    server.run(&["user", "create", "alice"]).expect(0);
    for (authority, name) in [(&fixture.new, "ours"), (&fixture.old, "others")] {
        let (chain, key) = authority.signed(name, LATER, &HOSTS);
        fs::write(fixture.file(&format!("{name}.pem")), chain).unwrap();
        fs::write(fixture.file(&format!("{name}.key")), key).unwrap();
    }
    let comes_in = |shows: Option<&str>| {
        let files = shows.map(|name| [fixture.file(&format!("{name}.pem")), fixture.file(&format!("{name}.key"))]);
        let mut envs = vec![("TIDELOG_USER", "alice"), ("TIDELOG_PASSWORD", PASSWORD)];
        if let Some([cert, key]) = &files {
            envs.extend([("TIDELOG_TLS_CLIENT_CERT", &**cert), ("TIDELOG_TLS_CLIENT_KEY", &**key)]);
        }
        at(&server, "IN", &fixture.old.ca, &envs, &["topic", "list"], b"").code == Some(0)
    };
    assert!(comes_in(None));
    let authority = fs::read_to_string(&fixture.new.ca).unwrap();
    let authorities = "ssl.truststore.certificates";
    // In one line, as a file of properties has it.
    set(&server, &[(authorities, Some(&authority.replace('\n', " "))), ("ssl.client.auth", Some("required"))]);
    assert!(comes_in(Some("ours")) && !comes_in(None) && !comes_in(Some("others")));
    assert!(trusts(&server, "OUT", &fixture.old.ca), "nobody asks there");
    set(&server, &[("ssl.client.auth", Some("requested"))]);
    assert!(comes_in(Some("ours")) && comes_in(None) && !comes_in(Some("others")));
    set(&server, &[(authorities, None), ("ssl.client.auth", None)]);
    assert!(comes_in(None));
    let (code, told) = alter(&server, &[("ssl.client.auth", None), ("ssl.enabled.protocols", Some("TLSv1.3"))], false);
    assert!(code == KafkaError::InvalidRequest.code() && told.contains("existing listener in"), "{told}");
}

#[test]
fn a_certificate_of_another_name_needs_a_start_that_allows_it() {
    let fixture = Fixture::new();
    let options = fixture.options("IN=SSL://127.0.0.1:0");
    let server = Server::start(options.set("ssl.allow.dn.changes", true).set("ssl.allow.san.changes", true));
    let (chain, key) = fixture.new.signed("another", LATER, &HOSTS[..1]);
    set(&server, &[("ssl.keystore.certificate.chain", Some(&chain)), ("ssl.keystore.key", Some(&key))]);
    assert!(trusts(&server, "IN", &fixture.new.ca));
}

/// A start serves nobody with less than somebody has set.
#[test]
fn a_start_without_a_listeners_own_certificate_says_so() {
    let fixture = Fixture::new();
    let mut server = Server::start(fixture.options("IN=SSL://127.0.0.1:0"));
    let (chain, key) = fixture.new.signed("server", LATER, &HOSTS);
    let path = fixture.file("in.pem");
    fs::write(&path, chain + &key).unwrap();
    set(&server, &[("ssl.keystore.location", Some(&path))]);
    server.stop();
    fs::rename(&path, fixture.file("away.pem")).unwrap();
    let refused = run(&mut server.serve_command(&server.data_dir()), b"", QUICK);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("listener.name.in.ssl.keystore.location=/"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("in.pem does not exist"), "{refused:?}");
    fs::rename(fixture.file("away.pem"), &path).unwrap();
    server.start_again();
    assert!(trusts(&server, "IN", &fixture.new.ca));
}

/// The same data with other listeners.
fn moved(mut server: Server, options: Options) -> Server {
    server.stop();
    Server::start_on(options, |data_dir| {
        fs::remove_dir(data_dir).unwrap();
        fs::rename(server.data_dir(), data_dir).unwrap();
    })
}

/// A private key that serves nobody any more should not have to stay.
#[test]
fn what_is_left_of_a_listener_that_is_not_encrypted_any_more_can_go_and_is_in_nobodys_way() {
    let fixture = Fixture::new();
    let (chain, key) = fixture.new.signed("server", LATER, &HOSTS);
    let (both, one) = ("ssl.keystore.certificate.chain", "ssl.keystore.key");
    let own = [(both, Some(&*chain)), (one, Some(&*key))];
    let none = [(both, None), (one, None)];
    let done = (0, String::new());
    let server = Server::start(fixture.options("IN=SSL://127.0.0.1:0,OUT=SSL://127.0.0.1:0"));
    set(&server, &own);

    let server = moved(server, fixture.options("IN=PLAINTEXT://127.0.0.1:0,OUT=SSL://127.0.0.1:0"));
    assert_eq!(alter_of(&server, "out", &own, false), done);
    assert!(trusts(&server, "OUT", &fixture.new.ca));
    let told = alter(&server, &own, false).1;
    assert!(told.contains("listener in is not encrypted"), "{told}");
    assert_eq!(alter(&server, &[("ssl.client.auth", None)], false), done);
    assert_eq!(described(&server).len(), 2);

    let plain = ["--kafka-listen", "IN=PLAINTEXT://127.0.0.1:0"];
    let server = moved(server, tidelog_harness::options!().args(plain));
    let told = alter(&server, &own, false).1;
    assert!(told.contains("There is no encrypted listener."), "{told}");
    set(&server, &none);
    assert_eq!(described(&server), []);
    assert_eq!(alter_of(&server, "out", &none, false), done, "it is there no more");
    server.assert_no_panic();
}
