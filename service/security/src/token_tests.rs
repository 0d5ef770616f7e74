//! Every rule of a token, one case each.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: Timestamp = Timestamp(1_750_000_000_500);
const SECOND: i64 = 1_750_000_000;
const JWKS: &[u8] = include_bytes!("../testdata/jwks.json");

fn rules() -> TokenRules {
    TokenRules { issuer: Some("us".into()), audiences: vec!["tidelog".into(), "other".into()], ..Default::default() }
}

fn shared() -> Authenticator {
    Authenticator::new(KeySet::default().with_secret(SECRET).unwrap(), rules()).unwrap()
}

fn public() -> Authenticator {
    Authenticator::new(KeySet::default().with_jwks(JWKS).unwrap(), rules()).unwrap()
}

fn good() -> Value {
    json!({"sub": "alice", "iss": "us", "aud": "tidelog", "exp": SECOND + 60, "nbf": SECOND})
}

fn sign(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn with(name: &str, value: Value) -> String {
    let mut claims = good();
    claims[name] = value;
    sign(&claims)
}

fn without(name: &str) -> String {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    sign(&claims)
}

/// Unpadded base64url, for headers that no library would write.
fn part(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(LETTERS[(bits >> (18 - 6 * index)) as usize & 63] as char);
        }
    }
    out
}

#[test]
fn a_good_token_names_its_principal() {
    let identity = shared().authenticate(&sign(&good()), NOW).unwrap();
    assert_eq!(identity.principal.as_str(), "User:alice");
    assert_eq!(identity.expires, Timestamp((SECOND + 60) * 1000));
    for audience in [json!(["x", "tidelog"]), json!("other")] {
        assert!(shared().authenticate(&with("aud", audience), NOW).is_ok());
    }
    assert!(shared().authenticate(&without("nbf"), NOW).is_ok());
    assert!(shared().authenticate(&with("exp", json!(SECOND as f64 + 0.75)), NOW).is_ok());
}

#[test]
fn every_claim_has_its_rule() {
    let cases = [
        ("expired", with("exp", json!(SECOND - 30)), TokenError::Expired),
        ("no exp", without("exp"), TokenError::MissingClaim("exp".into())),
        ("exp as text", with("exp", json!("tomorrow")), TokenError::InvalidClaim("exp".into())),
        ("exp null", with("exp", Value::Null), TokenError::InvalidClaim("exp".into())),
        ("not yet", with("nbf", json!(SECOND + 31)), TokenError::NotYetValid),
        ("nbf as text", with("nbf", json!("now")), TokenError::InvalidClaim("nbf".into())),
        ("other issuer", with("iss", json!("them")), TokenError::Issuer),
        ("issuers", with("iss", json!(["us"])), TokenError::Issuer),
        ("no issuer", without("iss"), TokenError::MissingClaim("iss".into())),
        ("other audience", with("aud", json!("them")), TokenError::Audience),
        ("other audiences", with("aud", json!(["them", "tidelo"])), TokenError::Audience),
        ("audience as number", with("aud", json!(1)), TokenError::Audience),
        ("no audience", without("aud"), TokenError::MissingClaim("aud".into())),
        ("no subject", without("sub"), TokenError::MissingClaim("sub".into())),
        ("empty subject", with("sub", json!("")), TokenError::InvalidClaim("sub".into())),
        ("subject as number", with("sub", json!(7)), TokenError::InvalidClaim("sub".into())),
        ("line break in subject", with("sub", json!("a\nb")), TokenError::InvalidClaim("sub".into())),
        ("long subject", with("sub", json!("x".repeat(1025))), TokenError::InvalidClaim("sub".into())),
        ("claims are no object", sign(&json!([1, 2])), TokenError::Malformed),
    ];
    for (name, token, expected) in cases {
        assert_eq!(shared().authenticate(&token, NOW), Err(expected), "{name}");
    }
}

#[test]
fn leeway_is_thirty_seconds_on_both_sides() {
    let at = |seconds: i64, millis: i64| Timestamp((SECOND + seconds) * 1000 + millis);
    let token = sign(&good());
    assert!(shared().authenticate(&token, at(89, 999)).is_ok());
    assert_eq!(shared().authenticate(&token, at(90, 0)), Err(TokenError::Expired));
    assert!(shared().authenticate(&token, at(-30, 0)).is_ok());
    assert_eq!(shared().authenticate(&token, at(-31, 999)), Err(TokenError::NotYetValid));
}

#[test]
fn far_dates_saturate() {
    assert!(shared().authenticate(&with("exp", json!(1e300)), NOW).is_ok());
    assert!(shared().authenticate(&with("exp", json!(i64::MAX)), NOW).is_ok());
    assert_eq!(shared().authenticate(&with("exp", json!(i64::MIN)), NOW), Err(TokenError::Expired));
    assert_eq!(shared().authenticate(&with("nbf", json!(u64::MAX)), NOW), Err(TokenError::NotYetValid));
}

/// KIP-768: `sasl.oauthbearer.sub.claim.name`.
#[test]
fn another_claim_may_name_the_user() {
    let rules = TokenRules { subject_claim: "client_id".into(), ..TokenRules::default() };
    let authenticator = Authenticator::new(KeySet::default().with_secret(SECRET).unwrap(), rules).unwrap();
    let named = authenticator.authenticate(&with("client_id", json!("billing")), NOW).unwrap();
    assert_eq!(named.principal.name(), "billing");
    assert_eq!(authenticator.authenticate(&sign(&good()), NOW), Err(TokenError::MissingClaim("client_id".into())));
    let odd = authenticator.authenticate(&with("client_id", json!(7)), NOW);
    assert_eq!(odd, Err(TokenError::InvalidClaim("client_id".into())));
}

/// Keys that an issuer changes while the server runs.
#[test]
fn published_keys_take_the_place_of_the_earlier_ones() {
    let signed = |key: &[u8], kid: &str| {
        let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
        encode(&header, &good(), &EncodingKey::from_ec_pem(key).unwrap()).unwrap()
    };
    let token = signed(include_bytes!("../testdata/ec.pem"), "ec");
    let authenticator = Authenticator::awaiting(KeySet::default(), rules());
    assert!(!authenticator.take_missed());
    assert_eq!(authenticator.authenticate(&token, NOW), Err(TokenError::Algorithm), "no key is there yet");
    assert!(authenticator.take_missed() && !authenticator.take_missed(), "told once");
    assert_eq!(authenticator.publish(KeySet::default()), Err(KeyError::NoKey));
    authenticator.publish(KeySet::default().with_jwks(JWKS).unwrap()).unwrap();
    assert!(authenticator.authenticate(&token, NOW).is_ok());
    assert!(!authenticator.take_missed());
    let strange = signed(include_bytes!("../testdata/ec.pem"), "new");
    assert_eq!(authenticator.authenticate(&strange, NOW), Err(TokenError::UnknownKey));
    assert!(authenticator.take_missed());
    let document: Value = serde_json::from_slice(JWKS).unwrap();
    let rest: Vec<&Value> = document["keys"].as_array().unwrap().iter().filter(|key| key["kid"] != "ec").collect();
    authenticator
        .publish(KeySet::default().with_jwks(&serde_json::to_vec(&json!({"keys": rest})).unwrap()).unwrap())
        .unwrap();
    assert!(authenticator.authenticate(&token, NOW).is_err(), "the key has been withdrawn");
}

#[test]
fn unset_rules_are_not_checked() {
    let open = Authenticator::new(KeySet::default().with_secret(SECRET).unwrap(), TokenRules::default()).unwrap();
    assert!(open.authenticate(&with("aud", json!(["anyone"])), NOW).is_ok());
    assert!(open.authenticate(&without("aud"), NOW).is_ok());
    assert!(open.authenticate(&without("iss"), NOW).is_ok());
    assert_eq!(open.authenticate(&without("exp"), NOW), Err(TokenError::MissingClaim("exp".into())));
}

#[test]
fn wrong_signatures_are_refused() {
    let other = encode(&Header::new(Algorithm::HS256), &good(), &EncodingKey::from_secret(b"another secret")).unwrap();
    assert_eq!(shared().authenticate(&other, NOW), Err(TokenError::Signature));
    let token = sign(&good());
    let (message, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(shared().authenticate(&format!("{message}."), NOW), Err(TokenError::Signature));
    assert_eq!(shared().authenticate(&format!("{message}.{}", part("x")), NOW), Err(TokenError::Signature));
    let claims = part(r#"{"sub":"admin","iss":"us","aud":"tidelog","exp":9999999999}"#);
    let header = message.split('.').next().unwrap();
    assert_eq!(shared().authenticate(&format!("{header}.{claims}.{signature}"), NOW), Err(TokenError::Signature));
}

#[test]
fn the_algorithm_comes_from_the_key() {
    let claims = part(&good().to_string());
    for none in [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"alg":"NONE"}"#, r#"{"alg":""}"#, r#"{}"#] {
        let token = format!("{}.{claims}.", part(none));
        assert_eq!(shared().authenticate(&token, NOW), Err(TokenError::Algorithm), "{none}");
        assert_eq!(public().authenticate(&token, NOW), Err(TokenError::Algorithm), "{none}");
    }
    // The classical confusion: the public key as it is published, used as an HMAC secret.
    for key in [&include_bytes!("../testdata/rsa-public.pem")[..], JWKS] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid = Some("rsa".into());
            let token = encode(&header, &good(), &EncodingKey::from_secret(key)).unwrap();
            assert_eq!(public().authenticate(&token, NOW), Err(TokenError::Algorithm));
        }
    }
    // A symmetric key in the JWKS is not taken for one.
    let oct = EncodingKey::from_secret(b"a secret in a file of public keys");
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("oct".into());
    assert_eq!(public().authenticate(&encode(&header, &good(), &oct).unwrap(), NOW), Err(TokenError::Algorithm));
    // A token for a public key does not pass where only the secret is known.
    assert_eq!(shared().authenticate(&asymmetric(Algorithm::ES256, Some("ec")), NOW), Err(TokenError::Algorithm));
    // `crit` names extensions that we do not understand.
    let token = format!("{}.{claims}.", part(r#"{"alg":"HS256","crit":["b64"]}"#));
    assert_eq!(shared().authenticate(&token, NOW), Err(TokenError::Algorithm));
}

fn asymmetric(algorithm: Algorithm, kid: Option<&str>) -> String {
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(include_bytes!("../testdata/ec.pem")),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(include_bytes!("../testdata/ed.pem")),
        _ => EncodingKey::from_rsa_pem(include_bytes!("../testdata/rsa.pem")),
    };
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, &good(), &key.unwrap()).unwrap()
}

#[test]
fn public_keys_verify_their_algorithms() {
    let cases = [
        (Algorithm::RS256, "rsa"),
        (Algorithm::PS256, "rsa"),
        (Algorithm::RS512, "rsa"),
        (Algorithm::ES256, "ec"),
        (Algorithm::EdDSA, "ed"),
    ];
    for (algorithm, kid) in cases {
        for kid in [Some(kid), None] {
            let identity = public().authenticate(&asymmetric(algorithm, kid), NOW);
            assert_eq!(identity.map(|i| i.principal), Ok(Principal::user("alice")), "{algorithm:?} {kid:?}");
        }
        assert_eq!(public().authenticate(&asymmetric(algorithm, Some("gone")), NOW), Err(TokenError::UnknownKey));
    }
    // The key for encryption has the same numbers; it verifies nothing.
    assert_eq!(public().authenticate(&asymmetric(Algorithm::RS256, Some("enc")), NOW), Err(TokenError::UnknownKey));
}

#[test]
fn secret_and_public_keys_live_side_by_side() {
    let keys = KeySet::default().with_secret(SECRET).unwrap().with_jwks(JWKS).unwrap();
    let both = Authenticator::new(keys, rules()).unwrap();
    assert!(both.authenticate(&sign(&good()), NOW).is_ok());
    assert!(both.authenticate(&asymmetric(Algorithm::EdDSA, Some("ed")), NOW).is_ok());
    let confused = encode(
        &Header::new(Algorithm::HS256),
        &good(),
        &EncodingKey::from_secret(include_bytes!("../testdata/rsa-public.pem")),
    )
    .unwrap();
    assert_eq!(both.authenticate(&confused, NOW), Err(TokenError::Signature));
}

#[test]
fn garbage_is_malformed() {
    let good = sign(&good());
    let long = format!("{good}{}", "A".repeat(20_000));
    for token in ["", ".", "..", "...", "a.b.c", "Bearer x", "ä.ö.ü", "e30", &format!("{good}.x"), &long] {
        let error = shared().authenticate(token, NOW).unwrap_err();
        assert!(matches!(error, TokenError::Malformed), "{token:.20}: {error:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_changed_token_passes(position in 0usize..200, letter in "[A-Za-z0-9_.-]") {
        let token = sign(&good());
        let position = position % token.len();
        let mut changed = token.clone();
        changed.replace_range(position..=position, &letter);
        // The last letter of a part carries unused bits; the decoder refuses them, so any change is refused.
        if changed != token {
            proptest::prop_assert!(shared().authenticate(&changed, NOW).is_err());
        }
    }

    #[test]
    fn arbitrary_text_never_passes(token in "\\PC{0,300}") {
        proptest::prop_assert!(shared().authenticate(&token, NOW).is_err());
        proptest::prop_assert!(public().authenticate(&token, NOW).is_err());
    }
}

#[test]
fn keys_of_other_kinds_are_passed_over() {
    // What identity providers publish beside the keys that sign tokens (RFC 7517 §5: ignore what is not understood).
    let others = [
        json!({"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "EC", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "use": "enc", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed448", "x": "AAAA"}),
        json!({"kty": "RSA", "use": "enc", "n": "AAAA", "e": "AQAB"}),
        json!({"kty": "RSA", "key_ops": ["wrapKey"], "n": 7}),
        json!({"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AAAA", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
        json!({"kty": 7}),
        json!("text"),
    ];
    let good: Value = serde_json::from_slice(JWKS).unwrap();
    for other in others {
        let alone = json!({ "keys": [other] }).to_string();
        let error = KeySet::default().with_jwks(alone.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(error, KeyError::NoUsableKey, "{other}");
        let mixed = json!({ "keys": [other, good["keys"][2]] }).to_string();
        let keys = KeySet::default().with_jwks(mixed.as_bytes()).unwrap_or_else(|error| panic!("{other}: {error}"));
        let both = Authenticator::new(keys, rules()).unwrap();
        assert!(both.authenticate(&asymmetric(Algorithm::EdDSA, Some("ed")), NOW).is_ok(), "{other}");
    }
}

#[test]
fn damaged_key_sets_are_refused_at_start() {
    let jwks = |text: &str| KeySet::default().with_jwks(text.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(jwks("{"), KeyError::JwksMalformed);
    assert_eq!(jwks("[]"), KeyError::JwksMalformed);
    assert_eq!(jwks(r#"{"keys":[]}"#), KeyError::NoUsableKey);
    assert_eq!(jwks(r#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"new"}]}"#), KeyError::NoUsableKey);
    assert!(matches!(jwks(r#"{"keys":[{"kty":"RSA","e":"AQAB"}]}"#), KeyError::BadKey { index: 0, .. }));
    let ec = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#;
    assert!(matches!(jwks(ec), KeyError::BadKey { index: 0, .. }));
    let confused = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"RS256","x":"AAAA","y":"AAAA"}]}"#;
    assert!(matches!(jwks(confused), KeyError::BadKey { index: 0, .. }));
    assert!(matches!(jwks(include_str!("../testdata/weak-jwks.json")), KeyError::BadKey { index: 0, .. }));
    let many = format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 65].join(","));
    assert_eq!(jwks(&many), KeyError::TooManyKeys(65));
    assert_eq!(KeySet::default().with_secret(b"").map(|_| ()).unwrap_err(), KeyError::EmptySecret);
    assert_eq!(Authenticator::new(KeySet::default(), rules()).map(|_| ()).unwrap_err(), KeyError::NoKey);
    assert!(KeySet::default().with_secret(b"short").unwrap().has_weak_secret());
    assert!(!shared().has_weak_secret());
}

#[test]
fn issued_tokens_pass_and_show_no_secret() {
    let request = TokenRequest {
        subject: "alice".into(),
        ttl: Duration::from_secs(60),
        audiences: vec!["tidelog".into()],
        issuer: Some("us".into()),
    };
    let token = issue_token(&request, SECRET, NOW).unwrap();
    assert_eq!(shared().authenticate(&token, NOW).unwrap().principal, Principal::user("alice"));
    let later = Timestamp(NOW.get() + 90_000);
    assert_eq!(shared().authenticate(&token, later), Err(TokenError::Expired));
    let two = TokenRequest { audiences: vec!["x".into(), "other".into()], ..request.clone() };
    assert!(shared().authenticate(&issue_token(&two, SECRET, NOW).unwrap(), NOW).is_ok());
    assert_eq!(issue_token(&request, b"", NOW), Err(IssueError::EmptySecret));
    let zero = TokenRequest { ttl: Duration::ZERO, ..request.clone() };
    assert_eq!(issue_token(&zero, SECRET, NOW), Err(IssueError::Ttl));
    let nobody = TokenRequest { subject: String::new(), ..request };
    assert_eq!(issue_token(&nobody, SECRET, NOW), Err(IssueError::Subject));
    let debug = format!("{:?} {:#?}", shared(), public());
    assert!(!debug.contains("0123456789abcdef") && debug.contains("3 keys"), "{debug}");
}
