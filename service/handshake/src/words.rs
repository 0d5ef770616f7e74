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
            None => (before, name.len()),
        };
        return Cow::Owned(format!("{before}{words}{}", rest.get(end..).unwrap_or_default()));
    }
    Cow::Borrowed(text)
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
            "x: Other(OtherError(UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id: [1, 2], ",
            "public_key_algorithm_id: (3) })) (HTTP)"
        ));
        assert!(algorithm.starts_with("x: it is signed") && algorithm.ends_with("SHA-256 (HTTP)"), "{algorithm}");
        assert_eq!(
            of("invalid peer certificate: UnknownIssuer"),
            "invalid peer certificate: nobody who is trusted has signed it"
        );
        assert_eq!(of("something else"), "something else");
        assert!(of("Other(OtherError(CaUsedAsEndEntity").ends_with("CA:FALSE"));
    }
}
