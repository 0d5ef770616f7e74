//! `tidelog config`: the same answer as `serve` gives, before it is started.

use std::path::Path;
use std::process::Command;

use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Output, run, tempfile};

use super::{QUICK, alone};

/// A file's `tidelog config` with these arguments, and its `tidelog serve`.
fn both(file: &Path, args: &[&str], env: &[(&str, &str)]) -> (Output, Output) {
    let call = |first: &[&str]| {
        let mut command: Command = tidelog_harness::options!().tidelog();
        command.args(first).arg("--config").arg(file).args(args).envs(env.iter().copied());
        run(&mut command, b"", QUICK)
    };
    (call(&["config", "check"]), call(&["serve"]))
}

#[test]
fn check_says_every_error_as_serve_does_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidelog.toml");
    std::fs::write(&file, "node_id = 'one'\n[kafka]\nlisen = '127.0.0.1:0'\n[broker]\nnum.partitions = 0\n").unwrap();
    let args = ["--durability", "sometimes", "-s", "retention.ms=1"];
    let (checked, served) = both(&file, &args, &[("TIDELOG_HTTP_LISTEN", "nowhere")]);
    let (checked, served) = (checked.expect(1), served.expect(1));
    assert_eq!(checked.stderr, served.stderr);
    let path = file.display();
    for part in [
        format!("{path}:1: node_id must be a whole number"),
        format!("{path}:3: unknown key kafka.lisen; did you mean kafka.listen?"),
        format!("{path}:5: Invalid value 0 for configuration num.partitions"),
        "TIDELOG_HTTP_LISTEN: \"nowhere\" is not an ADDRESS:PORT".to_owned(),
        "--durability: \"sometimes\"".to_owned(),
        "--set: Unknown broker config name: retention.ms".to_owned(),
    ] {
        assert!(checked.stderr.contains(&part), "{part} is not in {}", checked.stderr);
    }
    let mut command = tidelog_harness::options!().tidelog();
    command.args(["config", "check", "--output", "json", "--config"]).arg(&file);
    let answer = run(&mut command, b"", QUICK).expect(1).json();
    assert_eq!((&answer["ok"], answer["errors"].as_array().unwrap().len()), (&json!(false), 3), "{answer}");
    assert_eq!(answer["errors"][0]["at"], json!(format!("{path}:1")), "{answer}");
}

#[test]
fn check_asks_what_a_start_asks() {
    for (args, part) in [
        (&["--kafka-listen", "0.0.0.0:9092"][..], "--allow-unauthenticated"),
        (&["--kafka-listen", "foo"], "--kafka-listen: "),
        (&["--durability", "none"], "--durability: "),
        (&["--jwt-secret-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE"),
        (&["--jwt-jwks", "/no/such/keys"], "/no/such/keys"),
        (&["--jwt-audience", "x"], "--jwt-secret-env"),
        (&["--jwt-jwks", "https://issuer.example/keys"], "--jwt-any-audience"),
        (&["--jwt-jwks", "https://issuer.example/keys", "--jwt-any-audience", "--jwt-audience", "x"], "either every"),
        (&["--object-store", "ftp://x"], "s3://bucket/prefix"),
        (&["--object-store", "s3://b", "--s3-endpoint", "http://s3"], "not encrypted"),
        (&["--config", "/no/such/file"], "/no/such/file"),
    ] {
        let refused = alone(&[&["config", "check"], args].concat()).expect(1);
        assert!(refused.stderr.contains(part), "{args:?}: {}", refused.stderr);
        // A start also logs what it warns of; its last line is why it ended.
        let served = alone(&[&["serve"], args].concat());
        assert_eq!(served.stderr.lines().last(), refused.stderr.lines().last(), "{args:?}");
        // As every command: a path that leads nowhere, a flag that is no value, and the rest.
        let code = if part.starts_with("/no/such") { 4 } else { 1 + i32::from(part.ends_with(": ")) };
        assert_eq!(served.code, Some(code), "{args:?}");
    }
    assert_eq!(alone(&["config", "check"]).expect(0).stdout, "the configuration is usable\n");
    assert!(alone(&["config", "check", "--authorizer", "acl"]).expect(0).stderr.contains("nobody may do anything"));
    let outside = alone(&["config", "check", "--authorizer", "acl", "--super-user", "User:admin"]).expect(0);
    assert!(outside.stderr.contains("nobody can be User:admin"), "{}", outside.stderr);
    alone(&["config", "check", "--no-such-flag"]).expect(2);
    alone(&["config"]).expect(2);
    for args in [&["serve"][..], &["config", "check"]] {
        let mut short = tidelog_harness::options!().tidelog();
        short.args(args).args(["--jwt-secret-env", "SHORT"]).env("SHORT", "a secret of thirty-one bytes, k");
        let refused = run(&mut short, b"", QUICK).expect(1).stderr;
        assert!(refused.contains("32 bytes"), "{args:?}: {refused}");
    }
    // Users at the one door, anybody at the other.
    let half = ["config", "check", "--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:9092"];
    assert!(alone(&half).expect(0).stderr.contains("--http-basic"));
    assert!(!alone(&[&half[..], &["--http-basic"]].concat()).expect(0).stderr.contains("--http-basic"));
    let mut misspelt = tidelog_harness::options!().tidelog();
    misspelt.args(["config", "check"]).env("TIDELOG_KAFKA_LISTN", "x");
    let told = run(&mut misspelt, b"", QUICK).expect(0).stderr;
    assert!(told.contains("did you mean TIDELOG_KAFKA_LISTEN?"), "{told}");
}

#[test]
fn check_looks_into_certificates_and_keys() {
    use tidelog_harness::rcgen::{CertificateParams, KeyPair, date_time_ymd};
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let signed = |name: &str, last: i32| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(last, 12, 31);
        let key = KeyPair::generate().unwrap();
        write(&format!("{name}.pem"), &params.self_signed(&key).unwrap().pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    };
    signed("good", 2999);
    signed("other", 2999);
    signed("over", 2020);
    write("garbage", "-----BEGIN CERTIFICATE-----\nhush!\n-----END CERTIFICATE-----\n");
    write("odd", "-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----\n");
    let files = |cert: &str, key: &str, more: &[&str]| {
        let listen = ["--kafka-listen", "SSL://127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
        let data = path("data");
        let mut args: Vec<String> = listen.iter().chain(&["--data-dir", &data]).map(ToString::to_string).collect();
        args.extend(["--tls-cert".to_owned(), path(cert), "--tls-key".to_owned(), path(key)]);
        args.extend(more.iter().map(ToString::to_string));
        args
    };
    let (garbage, odd) = (path("garbage"), path("odd"));
    let none = path("none.pem");
    for (args, part) in [
        (files("none.pem", "good.key", &[]), "none.pem does not exist"),
        (files("good.pem", "none.key", &[]), "none.key does not exist"),
        (files("garbage", "good.key", &[]), "garbage has no usable certificate in PEM form"),
        (files("odd", "good.key", &[]), "odd has an unusable certificate"),
        (files("good.pem", "good.key", &["--kafka-tls-client-ca", &odd]), "odd has an unusable certificate"),
        (files("good.pem", "good.pem", &[]), "good.pem has no usable private key in PEM form"),
        (files("good.pem", "other.key", &[]), "good.pem and "),
        (files("good.pem", "good.key", &["--kafka-tls-client-ca", &garbage]), "garbage has no usable certificate"),
        (files("good.pem", "good.key", &["--kafka-tls-client-ca", &none]), "none.pem does not exist"),
    ] {
        let with = |command: &[&str]| {
            let args: Vec<&str> = command.iter().copied().chain(args.iter().map(String::as_str)).collect();
            alone(&args)
        };
        let refused = with(&["config", "check"]).expect(1);
        assert!(refused.stderr.contains(part) && !refused.stderr.contains("hush"), "{part}: {}", refused.stderr);
        let served = with(&["serve"]);
        assert_eq!(served.code, Some(if part.contains("does not exist") { 4 } else { 1 }), "{}", served.stderr);
        assert_eq!(served.stderr.lines().last(), refused.stderr.lines().last(), "{part}");
    }
    let with = |args: Vec<String>| {
        let args: Vec<&str> = ["config", "check"].into_iter().chain(args.iter().map(String::as_str)).collect();
        alone(&args).expect(0)
    };
    assert_eq!(with(files("good.pem", "good.key", &[])).stderr, "");
    // Whoever verifies certificates turns away, but a start is not refused.
    let over = with(files("over.pem", "over.key", &["--kafka-tls-client-ca", &path("over.pem")]));
    for part in ["over.pem has ended, on 2020-12-31", "clients turn away", "clients that it has signed are refused"] {
        assert!(over.stderr.contains(part), "{part}: {}", over.stderr);
    }
}

#[test]
fn show_says_what_holds_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidelog.toml");
    let text = "node_id = 7\n[kafka]\nlisten = '127.0.0.1:1'\n[http]\nlisten = '127.0.0.1:2'\n[store]\nendpoint = 'https://me:hush@s3'\n\
                [auth.jwt]\nsecret_env = 'MY_SECRET'\naudience = ['a', 'b']\n[broker]\nnum.partitions = 3\nlog.retention.ms = 9\n";
    std::fs::write(&file, text).unwrap();
    let command = |args: &[&str]| {
        let mut command = tidelog_harness::options!().tidelog();
        command.args(["config", "show", "--kafka-listen", "127.0.0.1:3", "-s", "num.partitions=4"]).args(args);
        command.env("TIDELOG_HTTP_LISTEN", "127.0.0.1:4").env("TIDELOG_CONFIG", &file).env("MY_SECRET", "hush");
        run(&mut command, b"", QUICK).expect(0)
    };
    let all = command(&["--output", "json"]);
    assert!(!all.stdout.contains("hush"), "a secret is shown: {}", all.stdout);
    let all = all.json();
    let setting = |key: &str| {
        let row = all.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}"));
        (row["value"].clone(), row["source"].as_str().unwrap().to_owned(), row["at"].clone())
    };
    let line = |number: u32| json!(format!("{}:{number}", file.display()));
    assert_eq!(setting("node_id"), (json!("7"), "file".into(), line(1)));
    assert_eq!(setting("kafka.listen"), (json!(["127.0.0.1:3"]), "flag".into(), json!("--kafka-listen")));
    assert_eq!(setting("http.listen"), (json!("127.0.0.1:4"), "environment".into(), json!("TIDELOG_HTTP_LISTEN")));
    assert_eq!(setting("auth.jwt.audience"), (json!(["a", "b"]), "file".into(), line(10)));
    assert_eq!(setting("store.endpoint").0, json!("https://…@s3"));
    assert_eq!(setting("log.durability"), (json!("fsync"), "default".into(), Value::Null));
    assert_eq!(setting("kafka.advertise"), (Value::Null, "default".into(), Value::Null));
    assert_eq!(setting("broker.num.partitions"), (json!("4"), "flag".into(), json!("--set")));
    assert_eq!(setting("broker.log.retention.ms"), (json!("9"), "file".into(), line(13)));
    let people = command(&["--origin"]).stdout;
    let row = people.lines().find(|line| line.starts_with("node_id")).unwrap();
    assert!(people.starts_with("SETTING") && row.ends_with("tidelog.toml:1"), "{people}");
    assert!(!command(&[]).stdout.contains("ORIGIN"));
}

/// What the reference calls a default is a value of its key, and a file that says all of them changes nothing.
#[test]
fn the_reference_is_true() {
    let reference = alone(&["config", "reference", "--output", "json"]).expect(0).json();
    let keys = reference.as_array().unwrap();
    let mut text = String::new();
    for key in keys.iter().filter(|key| key["of"] != "topic") {
        let (name, Some(default)) = (key["key"].as_str().unwrap(), key["default"].as_str()) else { continue };
        let plain = ["N", "MS", "true|false"].iter().any(|plain| key["type"] == *plain);
        let value = if plain { default.to_owned() } else { format!("'{default}'") };
        let name = name.strip_prefix("broker.").map_or(name.to_owned(), |name| format!("broker.\"{name}\""));
        text.push_str(&format!("{name} = {value}\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.toml");
    std::fs::write(&file, text).unwrap();
    let rows = |args: &[&str]| -> Vec<(Value, Value)> {
        let shown = alone(&[&["config", "show", "--output", "json"], args].concat()).expect(0).json();
        shown.as_array().unwrap().iter().map(|row| (row["key"].clone(), row["value"].clone())).collect()
    };
    assert_eq!(rows(&["--config", file.to_str().unwrap()]), rows(&[]));
    for (of, key) in [
        ("server", "kafka.listen"),
        ("broker", "broker.num.partitions"),
        ("listener", "listener.name.<name>.ssl.keystore.location"),
        ("listener", "listener.name.<name>.max.connections"),
        ("topic", "retention.ms"),
    ] {
        assert!(keys.iter().any(|row| row["of"] == of && row["key"] == key), "{key}");
    }
    let people = alone(&["config", "reference"]).expect(0).stdout;
    assert!(people.contains("--kafka-listen; TIDELOG_KAFKA_LISTEN"), "{people}");
}
