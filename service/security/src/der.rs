//! DER, as far as certificates need it: one element after the other. Trusts no length.

/// One element: tag, content, and what follows it.
pub(crate) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

/// What of a certificate's `tbs` begins with this field. Certificate { tbs { [0] version?, serial, algorithm, issuer, validity, subject, … } … }
/// (RFC 5280 §4.1)
pub(crate) fn from_field(certificate: &[u8], field: Field) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    let (tag, _, after) = element(rest)?;
    if tag == 0xa0 {
        rest = after;
    }
    for _ in 0..field as usize {
        (_, _, rest) = element(rest)?;
    }
    Some(rest)
}

/// The fields that are read, by how many stand before them.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    Validity = 3,
    Subject = 4,
    /// And what else comes behind the public key.
    Extensions = 6,
}
