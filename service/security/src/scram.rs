//! SCRAM's arithmetic (RFC 5802, 7677): what is kept of a password, and whether a password fits it. Reads no clock and draws no
//! random numbers. Names and passwords are their UTF-8 bytes, as Kafka's: no client of Kafka runs SASLprep over them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use tidelog_model::{ScramCredential, ScramMechanism, ScramShape};

use crate::limits::{MAX_SCRAM_ITERATIONS, MIN_SCRAM_ITERATIONS, SALT_BYTES};

/// Why a credential is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialError {
    /// Guessing would be too cheap.
    #[error("Too few iterations")]
    TooFewIterations,
    /// Checking would be too dear.
    #[error("Too many iterations")]
    TooManyIterations,
    /// Not the output of the mechanism's hash.
    #[error("The salted password has another length than the mechanism's hash")]
    SaltedPassword,
    /// No salt, or a very long one.
    #[error("The salt has no length that a salt has")]
    Salt,
}

/// HMAC with the mechanism's hash.
pub(crate) fn hmac(mechanism: ScramMechanism, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn with<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // HMAC takes keys of every length.
        let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
    match mechanism {
        ScramMechanism::Sha256 => with::<Hmac<Sha256>>(key, parts),
        ScramMechanism::Sha512 => with::<Hmac<Sha512>>(key, parts),
    }
}

fn hash(mechanism: ScramMechanism, bytes: &[u8]) -> Vec<u8> {
    match mechanism {
        ScramMechanism::Sha256 => Sha256::digest(bytes).to_vec(),
        ScramMechanism::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

/// `Hi`: PBKDF2 with one block of output. Takes milliseconds on purpose.
pub fn salted_password(mechanism: ScramMechanism, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
    fn with<M: Mac + Clone + hmac::digest::KeyInit>(password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
        let Ok(keyed) = <M as Mac>::new_from_slice(password) else { return Vec::new() };
        let round = |input: &[&[u8]]| {
            let mut mac = keyed.clone();
            input.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let mut last = round(&[salt, &1u32.to_be_bytes()]);
        let mut sum = last.to_vec();
        for _ in 1..iterations {
            last = round(&[&last]);
            sum.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        sum
    }
    match mechanism {
        ScramMechanism::Sha256 => with::<Hmac<Sha256>>(password, salt, iterations),
        ScramMechanism::Sha512 => with::<Hmac<Sha512>>(password, salt, iterations),
    }
}

/// What is kept of a salted password, if it is one that a server should keep.
pub fn credential(
    mechanism: ScramMechanism,
    salted: &[u8],
    salt: &[u8],
    iterations: i32,
) -> Result<ScramCredential, CredentialError> {
    if iterations < MIN_SCRAM_ITERATIONS {
        return Err(CredentialError::TooFewIterations);
    }
    if iterations > MAX_SCRAM_ITERATIONS {
        return Err(CredentialError::TooManyIterations);
    }
    if salted.len() != mechanism.key_bytes() {
        return Err(CredentialError::SaltedPassword);
    }
    if salt.is_empty() || salt.len() > crate::limits::MAX_SALT_BYTES {
        return Err(CredentialError::Salt);
    }
    Ok(keys(mechanism, salted, salt, iterations))
}

fn keys(mechanism: ScramMechanism, salted: &[u8], salt: &[u8], iterations: i32) -> ScramCredential {
    ScramCredential {
        salt: salt.to_vec(),
        stored_key: hash(mechanism, &hmac(mechanism, salted, &[b"Client Key"])),
        server_key: hmac(mechanism, salted, &[b"Server Key"]),
        iterations,
    }
}

/// Rounds for the passwords of delegation tokens (Kafka's smallest number): these are as good as random, and no rounds make them better.
const TOKEN_ITERATIONS: i32 = MIN_SCRAM_ITERATIONS;

/// What is kept of the password of a delegation token, for one exchange.
pub fn token_credential(mechanism: ScramMechanism, key: &[u8], id: &str, salt: &[u8]) -> ScramCredential {
    let password = token_password(key, id);
    keys(mechanism, &salted_password(mechanism, password.as_bytes(), salt, TOKEN_ITERATIONS), salt, TOKEN_ITERATIONS)
}

/// The secret of a delegation token (KIP-48): HMAC-SHA-512 of its id.
pub fn token_secret(key: &[u8], id: &str) -> Vec<u8> {
    hmac(ScramMechanism::Sha512, key, &[id.as_bytes()])
}

/// The password of a login with it.
pub fn token_password(key: &[u8], id: &str) -> String {
    STANDARD.encode(token_secret(key, id))
}

/// Is this the secret of the token with this id? Takes as long whether it is or not.
pub fn is_token_secret(key: &[u8], id: &str, secret: &[u8]) -> bool {
    token_secret(key, id).ct_eq(secret).into()
}

/// Does the password fit? As slow as its iterations, and equally slow whether it fits or not.
pub fn fits_password(mechanism: ScramMechanism, credential: &ScramCredential, password: &[u8]) -> bool {
    let salted = salted_password(mechanism, password, &credential.salt, credential.iterations);
    let given = keys(mechanism, &salted, &credential.salt, credential.iterations);
    given.stored_key.ct_eq(&credential.stored_key).into()
}

/// Does the client's proof show that it knows the password (RFC 5802 §3)?
pub(crate) fn fits_proof(
    mechanism: ScramMechanism,
    credential: &ScramCredential,
    message: &[u8],
    proof: &[u8],
) -> bool {
    let mut client_key = hmac(mechanism, &credential.stored_key, &[message]);
    if client_key.len() != proof.len() {
        return false;
    }
    client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
    hash(mechanism, &client_key).ct_eq(&credential.stored_key).into()
}

/// A client's proof that it knows the salted password (RFC 5802 §3).
pub(crate) fn proof(mechanism: ScramMechanism, salted: &[u8], message: &[u8]) -> Vec<u8> {
    let mut proof = hmac(mechanism, salted, &[b"Client Key"]);
    let signature = hmac(mechanism, &hash(mechanism, &proof), &[message]);
    proof.iter_mut().zip(signature).for_each(|(byte, signed)| *byte ^= signed);
    proof
}

/// The shape of a credential whose owner does not exist: one of these, whose owners do. Always the same for the same name and secret, until
/// that one goes or one comes that the name would rather have. The usual one if there are none.
pub fn nobodys_shape(
    secret: &[u8],
    user: &str,
    mechanism: ScramMechanism,
    shapes: impl IntoIterator<Item = ScramShape>,
) -> ScramShape {
    let rank = |shape: &ScramShape| {
        let ScramShape { mechanism, iterations, salt_bytes, is_text } = *shape;
        let numbers = [i64::from(mechanism.code()), i64::from(iterations), salt_bytes as i64, i64::from(is_text)];
        let numbers = numbers.map(i64::to_be_bytes).concat();
        hmac(ScramMechanism::Sha256, secret, &[b"shape", &numbers, user.as_bytes()])
    };
    let ranked = shapes.into_iter().map(|shape| (rank(&shape), shape));
    let usual = ScramShape { mechanism, iterations: MIN_SCRAM_ITERATIONS, salt_bytes: SALT_BYTES, is_text: false };
    ranked.max().map_or(usual, |(_, shape)| shape)
}

/// A digit of base 36.
fn digit(byte: u8) -> u8 {
    match byte % 36 {
        small @ 0..10 => b'0' + small,
        large => b'a' + (large - 10),
    }
}

/// A credential for a user who does not exist: always the same for the same name, secret and shape, so that asking twice tells nothing, and
/// no password fits it.
pub fn nobodys_credential(secret: &[u8], user: &str, shape: ScramShape) -> ScramCredential {
    let of = |what: &[u8]| hmac(shape.mechanism, secret, &[what, user.as_bytes()]);
    let mut salt = Vec::new();
    for block in 0..=u16::MAX {
        if salt.len() >= shape.salt_bytes {
            break;
        }
        salt.extend(hmac(ScramMechanism::Sha512, secret, &[b"salt", &block.to_be_bytes(), user.as_bytes()]));
    }
    salt.truncate(shape.salt_bytes);
    if shape.is_text {
        salt.iter_mut().for_each(|byte| *byte = digit(*byte));
    }
    ScramCredential { salt, stored_key: of(b"stored"), server_key: of(b"server"), iterations: shape.iterations }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn pbkdf2_is_rfc_7914s() {
        // RFC 7914 §11, the first 32 of its 64 bytes.
        let derived = salted_password(ScramMechanism::Sha256, b"passwd", b"salt", 1);
        assert_eq!(derived[..8], [0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f]);
    }

    #[test]
    fn rfc_7677s_example_fits() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(ScramMechanism::Sha256, b"pencil", &salt, 4096);
        let credential = credential(ScramMechanism::Sha256, &salted, &salt, 4096).unwrap();
        let message = concat!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        );
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        assert!(fits_proof(ScramMechanism::Sha256, &credential, message.as_bytes(), &proof));
        assert!(!fits_proof(ScramMechanism::Sha256, &credential, b"another", &proof));
        assert!(!fits_proof(ScramMechanism::Sha256, &credential, message.as_bytes(), b"short"));
        let signature = hmac(ScramMechanism::Sha256, &credential.server_key, &[message.as_bytes()]);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(fits_password(ScramMechanism::Sha256, &credential, b"pencil"));
        assert!(!fits_password(ScramMechanism::Sha256, &credential, b"pencils"));
    }

    #[test]
    fn weak_and_misshapen_credentials_are_refused() {
        let of = |salted: usize, salt: usize, iterations| {
            credential(ScramMechanism::Sha512, &vec![0; salted], &vec![0; salt], iterations).map(|_| ())
        };
        assert_eq!(of(64, 8, 4096), Ok(()));
        assert_eq!(of(64, 8, 16384), Ok(()));
        assert_eq!(of(64, 8, 4095), Err(CredentialError::TooFewIterations));
        assert_eq!(of(64, 8, 16385), Err(CredentialError::TooManyIterations));
        assert_eq!(of(32, 8, 4096), Err(CredentialError::SaltedPassword));
        assert_eq!(of(64, 0, 4096), Err(CredentialError::Salt));
    }

    const SHA256: ScramMechanism = ScramMechanism::Sha256;

    fn shape(iterations: i32, salt_bytes: usize, is_text: bool) -> ScramShape {
        ScramShape { mechanism: SHA256, iterations, salt_bytes, is_text }
    }

    #[test]
    fn nobody_has_one_salt_and_no_password() {
        let of = |user| nobodys_credential(b"secret", user, nobodys_shape(b"secret", user, SHA256, []));
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a").salt, of("b").salt);
        assert_eq!(of("a").shape(SHA256), shape(4096, SALT_BYTES, false));
        assert!(!fits_password(SHA256, &of("a"), b""));
        assert!(!format!("{:?}", of("a")).contains("salt"));
    }

    #[test]
    fn nobody_looks_like_somebody() {
        let in_use = [shape(8192, 26, true), shape(16384, 1024, false), shape(4096, 1, true)];
        let of = |user: &str, shapes: &[ScramShape]| nobodys_shape(b"secret", user, SHA256, shapes.iter().copied());
        let names: Vec<String> = (0..100).map(|n| format!("user-{n}")).collect();
        for wanted in in_use {
            let like = names.iter().filter(|name| of(name, &in_use) == wanted);
            assert!(like.count() > 10, "{wanted:?}");
        }
        for name in &names {
            let mut others = in_use;
            others.reverse();
            let shape = of(name, &in_use);
            assert_eq!(of(name, &others), shape, "whatever their order");
            let credential = nobodys_credential(b"secret", name, shape);
            // A short salt of random bytes may be text by chance, but none of these is.
            assert_eq!(credential.shape(SHA256), shape);
            let without: Vec<_> = in_use.into_iter().filter(|one| *one == shape || one.salt_bytes == 1).collect();
            assert_eq!(of(name, &without), shape, "what it is not goes unnoticed");
        }
    }
}
