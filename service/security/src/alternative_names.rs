//! The subject alternative names of a certificate (RFC 5280 §4.2.1.6). Reads DER, verifies nothing.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use crate::der::{Field, element, from_field};

const EXTENSIONS: u8 = 0xa3;
const OCTETS: u8 = 0x04;
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];

/// Whom a certificate is for beside its subject: `DNS:a.example`, `IP:192.0.2.1`; what has no such form by its tag, in hexadecimal. Empty for a
/// certificate that names nobody.
pub fn alternative_names(certificate: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = extension(certificate).unwrap_or_default();
    while let Some((tag, content, after)) = element(rest) {
        names.insert(shown(tag, content));
        rest = after;
    }
    names
}

/// What the extension holds. Extensions { { oid, critical?, octets { names … } } … }
fn extension(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = from_field(certificate, Field::Extensions)?;
    let mut extensions = loop {
        let (tag, content, after) = element(rest)?;
        if tag == EXTENSIONS {
            break element(content)?.1;
        }
        rest = after;
    };
    loop {
        let (_, one, after) = element(extensions)?;
        let (_, kind, mut value) = element(one)?;
        if kind == SUBJECT_ALTERNATIVE_NAME {
            loop {
                let (tag, content, after) = element(value)?;
                if tag == OCTETS {
                    return Some(element(content)?.1);
                }
                value = after;
            }
        }
        extensions = after;
    }
}

fn shown(tag: u8, content: &[u8]) -> String {
    let text = || str::from_utf8(content).ok();
    let address = || {
        let four = <[u8; 4]>::try_from(content).map(IpAddr::from);
        four.or_else(|_| <[u8; 16]>::try_from(content).map(IpAddr::from)).ok()
    };
    let known = match tag {
        0x81 => text().map(|name| format!("EMAIL:{name}")),
        0x82 => text().map(|name| format!("DNS:{}", name.to_ascii_lowercase())),
        0x86 => text().map(|name| format!("URI:{name}")),
        0x87 => address().map(|address| format!("IP:{address}")),
        _ => None,
    };
    known.unwrap_or_else(|| {
        let mut shown = format!("{tag:#04x}:");
        for byte in content {
            let _ = write!(shown, "{byte:02x}");
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_and_addresses_are_read() {
        let of = |names: &[&str], more: Vec<SanType>| {
            let mut params =
                CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
            params.subject_alt_names.extend(more);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            alternative_names(certificate.der()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(of(&[], vec![]), [""; 0]);
        let more = vec![SanType::URI("spiffe://a/b".try_into().unwrap())];
        let names = of(&["B.example", "192.0.2.1", "2001:db8::1"], more);
        assert_eq!(names, ["DNS:b.example", "IP:192.0.2.1", "IP:2001:db8::1", "URI:spiffe://a/b"]);
        assert_eq!(shown(0xa4, &[1, 255]), "0xa4:01ff");
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        for nonsense in [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], b"hello there"] {
            assert!(alternative_names(nonsense).is_empty());
        }
    }
}
