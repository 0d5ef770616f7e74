use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::scram::{credential, nobodys_credential, nobodys_shape, salted_password};

const SHA256: ScramMechanism = ScramMechanism::Sha256;

fn rfc_7677() -> ScramCredential {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    credential(SHA256, &salted_password(SHA256, b"pencil", &salt, 4096), &salt, 4096).unwrap()
}

fn failed(step: &Step) -> bool {
    matches!(step, Step::Failed(_))
}

#[test]
fn the_exchange_of_rfc_7677() {
    let mut exchange = Exchange::new(Mechanism::Scram(SHA256));
    let step = exchange.received(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(step, Step::Credential(SHA256, "user".into()));
    let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(exchange.found(rfc_7677(), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"), Step::Challenge(challenge.to_vec()));
    let proof = concat!(
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,",
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let reply = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
    assert_eq!(exchange.received(proof.as_bytes()), Step::Done(Done { user: "user".into(), reply }));
    assert!(failed(&exchange.received(proof.as_bytes())), "over is over");
}

/// What kcat 1.7.1 of Debian (librdkafka 2.0.2) sends.
#[test]
fn the_doubled_nonce_of_old_librdkafkas_is_let_through_and_nothing_like_it() {
    let (own, ours) = ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    let salted = salted_password(SHA256, b"pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096);
    let answer = |nonce: &str, proved: &str| {
        let mut exchange = Exchange::new(Mechanism::Scram(SHA256));
        exchange.received(format!("n,,n=user,r={own}").as_bytes());
        exchange.found(rfc_7677(), ours);
        let first = format!("n=user,r={own},r={own}{ours},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let proof = crate::scram::proof(SHA256, &salted, format!("{first},c=biws,r={proved}").as_bytes());
        exchange.received(format!("c=biws,r={nonce},p={}", STANDARD.encode(proof)).as_bytes())
    };
    let whole = format!("{own}{ours}");
    let doubled = format!("{own}{whole}");
    for good in [&whole, &doubled] {
        assert!(matches!(answer(good, good), Step::Done(_)), "{good}");
    }
    // The proof is over what was sent, not over what we would have liked.
    assert!(failed(&answer(&doubled, &whole)) && failed(&answer(&whole, &doubled)));
    let [thrice, other, cut, bare] =
        [format!("{own}{doubled}"), format!("x{whole}"), doubled[..doubled.len() - 1].to_owned(), own.to_owned()];
    for bad in [&thrice, &other, &cut, &bare, &format!("{own}{own}"), &ours.to_owned(), &String::new()] {
        assert!(failed(&answer(bad, bad)), "{bad}");
    }
}

#[test]
fn a_proof_holds_for_its_own_exchange_only() {
    let good =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let answer = |credential: ScramCredential, nonce: &str, last: &str| {
        let mut exchange = Exchange::new(Mechanism::Scram(SHA256));
        exchange.received(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        exchange.found(credential, nonce);
        exchange.received(last.as_bytes())
    };
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    assert!(!failed(&answer(rfc_7677(), nonce, good)));
    assert!(failed(&answer(rfc_7677(), "fresh", good)), "a replay");
    assert!(
        failed(&answer(nobodys_credential(b"s", "user", nobodys_shape(b"s", "user", SHA256, [])), nonce, good)),
        "no such user"
    );
    for (from, to) in [("biws", "eSws"), ("p=dH", "p=eH"), (",p=", ",q="), ("c=biws", "c=")] {
        assert!(failed(&answer(rfc_7677(), nonce, &good.replace(from, to))), "{from} -> {to}");
    }
}

#[test]
fn first_messages_follow_the_grammar() {
    let user = |text: &str| match Exchange::new(Mechanism::Scram(SHA256)).received(text.as_bytes()) {
        Step::Credential(_, user) => Some(user),
        step => {
            assert!(failed(&step), "{text}");
            None
        }
    };
    assert_eq!(user("n,,n=a=2Cb=3Dc,r=x"), Some("a,b=c".into()));
    assert_eq!(user("y,,n=a,r=x,ext=1"), Some("a".into()));
    assert_eq!(user("n,a=a,n=a,r=x"), Some("a".into()));
    for bad in [
        "",
        "n",
        "n,,",
        "n,,n=a",
        "n,,n=,r=x",
        "n,,n=a,r=",
        "n,,n=a=2,r=x",
        "n,,n=a,r=\u{7f}",
        "p=tls-unique,,n=a,r=x",
        "n,a=b,n=a,r=x",
        "n,b,n=a,r=x",
        "n,,r=x,n=a",
        "n,,m=x,n=a,r=x",
    ] {
        assert_eq!(user(bad), None, "{bad}");
    }
    assert_eq!(user(&format!("n,,n=a,r={}", "x".repeat(10_000))), None);
}

#[test]
fn a_delegation_token_is_looked_for_among_tokens() {
    use crate::scram::{is_token_secret, token_credential, token_password, token_secret};
    let login = Login::DelegationToken(SHA256, "id".into(), Secret(token_password(b"key", "id")));
    let (mut client, first) = ClientExchange::begin(&login, "abc");
    assert_eq!(first, b"n,,n=id,r=abc,tokenauth=true");
    let mut server = Exchange::new(login.mechanism());
    assert_eq!(server.received(&first), Step::TokenCredential(SHA256, "id".into()));
    let Step::Challenge(challenge) = server.found(token_credential(SHA256, b"key", "id", b"salt"), "xyz") else {
        panic!("no challenge")
    };
    let proof = client.received(&challenge).unwrap().unwrap();
    let Step::Done(Done { user, reply }) = server.received(&proof) else { panic!("not done") };
    assert_eq!((user.as_str(), client.received(&reply)), ("id", Ok(None)));
    assert_eq!(token_secret(b"key", "id").len(), 64);
    assert!(is_token_secret(b"key", "id", &token_secret(b"key", "id")));
    assert!(!is_token_secret(b"key", "id", &token_secret(b"other", "id")) && !is_token_secret(b"key", "id", b""));
    // Another value of the extension is none.
    let step = Exchange::new(Mechanism::Scram(SHA256)).received(b"n,,n=a,r=x,tokenauth=false");
    assert_eq!(step, Step::Credential(SHA256, "a".into()));
}

#[test]
fn plain_has_three_parts() {
    let asked = |message: &[u8]| match Exchange::new(Mechanism::Plain).received(message) {
        Step::Password(user, Secret(password)) => Some((user, password)),
        _ => None,
    };
    assert_eq!(asked(b"\0alice\0secret"), Some(("alice".into(), "secret".into())));
    assert_eq!(asked(b"alice\0alice\0s"), Some(("alice".into(), "s".into())));
    for bad in [&b""[..], b"\0", b"\0a\0", b"\0\0b", b"b\0a\0c", b"\0a\0b\0c", b"a\0b", b"\0a\0\xff"] {
        assert_eq!(asked(bad), None, "{bad:?}");
    }
    let mut exchange = Exchange::new(Mechanism::Plain);
    let step = exchange.received(b"\0alice\0secret");
    assert!(!format!("{step:?} {exchange:?}").contains("secret"), "secrets are not shown");
    assert_eq!(exchange.checked(true), Step::Done(Done { user: "alice".into(), reply: Vec::new() }));
    assert!(failed(&exchange.checked(true)), "over is over");
    let mut exchange = Exchange::new(Mechanism::Plain);
    exchange.received(b"\0alice\0secret");
    assert!(failed(&exchange.checked(false)));
}

#[test]
fn a_refused_token_is_told_before_it_ends() {
    let asked = |message: &str| match Exchange::new(Mechanism::OAuthBearer).received(message.as_bytes()) {
        Step::Token(Secret(token)) => Some(token),
        _ => None,
    };
    assert_eq!(asked("n,,\u{1}auth=Bearer a.b.c\u{1}\u{1}"), Some("a.b.c".into()));
    assert_eq!(asked("n,,\u{1}host=h\u{1}auth=bearer t\u{1}\u{1}"), Some("t".into()));
    for bad in [
        "",
        "n,,",
        "n,,\u{1}\u{1}",
        "n,,\u{1}auth=Bearer t\u{1}",
        "n,x,\u{1}auth=Bearer t\u{1}\u{1}",
        "n,a=x=,\u{1}auth=Bearer t\u{1}\u{1}",
        "n,a=x=2c,\u{1}auth=Bearer t\u{1}\u{1}",
        "n,,\u{1}auth=Basic t\u{1}\u{1}",
        "n,,\u{1}auth=Bearer \u{1}\u{1}",
        "n,,\u{1}a_b=c\u{1}auth=Bearer t\u{1}\u{1}",
        "n,,\u{1}auth=Bearer t\u{1}auth=Bearer u\u{1}\u{1}",
    ] {
        assert_eq!(asked(bad), None, "{bad:?}");
    }
    let mut exchange = Exchange::new(Mechanism::OAuthBearer);
    exchange.received("n,,\u{1}auth=Bearer t\u{1}\u{1}".as_bytes());
    let told = Step::Challenge(br#"{"status":"invalid_token"}"#.to_vec());
    assert_eq!(exchange.verified(Err("it is for another audience".into())), told, "the client hears no reason");
    assert_eq!(exchange.received(b"\x01"), Step::Failed("it is for another audience".into()), "the log does");
}

/// RFC 7628 §3.1: a client may say whom it acts as; as with Kafka, only as whom its token names.
#[test]
fn a_token_is_good_for_acting_as_its_owner_only() {
    let verified = |header: &str, subject: &str| {
        let mut exchange = Exchange::new(Mechanism::OAuthBearer);
        exchange.received(format!("n,{header},\u{1}auth=Bearer t\u{1}\u{1}").as_bytes());
        exchange.verified(Ok(subject))
    };
    for header in ["", "a=", "a=al=2Ci=3Dce"] {
        assert_eq!(verified(header, "al,i=ce"), Step::Done(Done { user: "al,i=ce".into(), reply: Vec::new() }));
    }
    assert!(failed(&verified("a=bob", "alice")));
    assert!(failed(&Exchange::new(Mechanism::OAuthBearer).verified(Ok("alice"))), "nothing was asked");
}

proptest! {
    #[test]
    fn arbitrary_bytes_let_nobody_in(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4)) {
        for mechanism in Mechanism::ALL {
            let mut exchange = Exchange::new(*mechanism);
            for message in &messages {
                let step = match exchange.received(message) {
                    Step::Credential(mechanism, user) => {
                        let shape = nobodys_shape(b"secret", &user, mechanism, []);
                        exchange.found(nobodys_credential(b"secret", &user, shape), "nonce")
                    }
                    Step::Password(..) => exchange.checked(false),
                    Step::Token(_) => exchange.verified(Err(String::new())),
                    other => other,
                };
                prop_assert!(!matches!(step, Step::Done(_)));
            }
        }
    }
}
