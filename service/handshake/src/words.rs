//! What rustls and webpki say of certificates, in words and with what to do.

use std::borrow::Cow;

/// Their names, and ours. Most of them come wrapped, as `Other(OtherError(CaUsedAsEndEntity))`.
const WORDS: &[(&str, &str)] = &[
    (
        "UnsupportedCertVersion",
        "it is of X.509 version 1; with extensions (openssl x509 -req -extfile …, with subjectAltName) it becomes version 3",
    ),
    (
        "CaUsedAsEndEntity",
        "it is an authority's own; a server's or a client's needs the extension basicConstraints=CA:FALSE",
    ),
    (
        "UnsupportedSignatureAlgorithmForPublicKeyContext",
        "its signature is not of the kind of its signer's key: either somebody else of the signer's name is trusted (is the right CA given?), \
         or the key is of a kind that is not supported (ECDSA with P-256 or P-384, Ed25519 and RSA with 2048 bits or more are)",
    ),
    (
        "UnsupportedSignatureAlgorithm",
        "it is signed in a way that is not supported; take ECDSA with P-256 or P-384, Ed25519, or RSA with 2048 bits or more, and SHA-256",
    ),
    ("UnknownIssuer", "nobody who is trusted has signed it"),
    ("InconsistentKeys(KeyMismatch)", "the key is another certificate's"),
];

const WRAPPED: &str = "Other(OtherError(";

/// The text with what is said of certificates put into words.
pub fn in_words(text: &str) -> Cow<'_, str> {
    for (name, words) in WORDS {
        let Some(at) = text.find(name) else { continue };
        let (before, rest) = text.split_at(at);
        let (before, end) = match before.strip_suffix(WRAPPED) {
            Some(before) => (before, closing(rest, WRAPPED.matches('(').count())),
            None => (before, debug_end(rest)),
        };
        return Cow::Owned(format!("{before}{words}{}", rest.get(end..).unwrap_or_default()));
    }
    Cow::Borrowed(text)
}

/// Where a name of a type ends, with the fields that `Debug` writes behind it.
fn debug_end(text: &str) -> usize {
    let name = text.find(|letter: char| !letter.is_alphanumeric() && letter != '(').unwrap_or(text.len());
    let name = if text.get(..name).is_some_and(|name| name.contains('(')) {
        text.find(')').map_or(name, |at| at + 1)
    } else {
        name
    };
    match text.get(name..).and_then(|rest| rest.strip_prefix(" {")).and_then(|rest| rest.find('}')) {
        Some(at) => name + " {".len() + at + 1,
        None => name,
    }
}

/// Where so many parentheses that are open at the beginning are closed.
fn closing(text: &str, mut open: usize) -> usize {
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => open += 1,
            ')' if open == 1 => return at + 1,
            ')' => open -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_type_is_left() {
        let of = |text: &'static str| in_words(text).into_owned();
        let version =
            of("a and b cannot be used together: invalid peer certificate: Other(OtherError(UnsupportedCertVersion))");
        assert!(
            version.starts_with("a and b cannot be used together: invalid peer certificate: it is of X.509 version 1")
        );
        assert!(version.ends_with("version 3"), "{version}");
        let algorithm = of(concat!(
            "x: Other(OtherError(UnsupportedSignatureAlgorithmContext { signature_algorithm_id: [1, 2], ",
            "supported_algorithms: (3) })) (HTTP)"
        ));
        assert!(algorithm.starts_with("x: it is signed") && algorithm.ends_with("SHA-256 (HTTP)"), "{algorithm}");
        let other_key = of(concat!(
            "invalid peer certificate: UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id: [6, 8], ",
            "public_key_algorithm_id: [6, 9] } (HTTP)"
        ));
        assert!(other_key.starts_with("invalid peer certificate: its signature is not of the kind"), "{other_key}");
        assert!(other_key.ends_with("are) (HTTP)"), "{other_key}");
        assert_eq!(of("a and b: InconsistentKeys(KeyMismatch)"), "a and b: the key is another certificate's");
        assert_eq!(
            of("invalid peer certificate: UnknownIssuer"),
            "invalid peer certificate: nobody who is trusted has signed it"
        );
        assert_eq!(of("something else"), "something else");
        assert!(of("Other(OtherError(CaUsedAsEndEntity").ends_with("CA:FALSE"));
    }
}
