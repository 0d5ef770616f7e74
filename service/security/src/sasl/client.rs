//! SASL at the client's side, for our own command line. Decides what to send; draws no random numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use tidelog_model::ScramMechanism;

use super::{Mechanism, Secret};
use crate::limits::{MAX_SALT_BYTES, MAX_SERVERS_ITERATIONS};
use crate::scram::{hmac, proof, salted_password};

/// How a client says who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// The password itself.
    Plain(String, Secret),
    /// A proof that it knows the password.
    Scram(ScramMechanism, String, Secret),
    /// The same with the id and the secret (in base64) of a delegation token (KIP-48).
    DelegationToken(ScramMechanism, String, Secret),
    /// A bearer token.
    Token(Secret),
}

impl Login {
    /// The mechanism to choose.
    pub const fn mechanism(&self) -> Mechanism {
        match self {
            Login::Plain(..) => Mechanism::Plain,
            Login::Scram(mechanism, ..) | Login::DelegationToken(mechanism, ..) => Mechanism::Scram(*mechanism),
            Login::Token(_) => Mechanism::OAuthBearer,
        }
    }
}

/// One exchange.
#[derive(Debug)]
pub struct ClientExchange(State);

#[derive(Debug)]
enum State {
    /// The server has all it needs; it answers with nothing.
    Last,
    ScramFirst {
        mechanism: ScramMechanism,
        password: Secret,
        bare: String,
        nonce: String,
    },
    /// The server proves that it knows the password too.
    ScramLast {
        signature: Vec<u8>,
    },
    /// The server refused; the reason is its own.
    Over,
}

impl ClientExchange {
    /// The exchange and its first message. `nonce` is fresh printable chance.
    pub fn begin(login: &Login, nonce: &str) -> (Self, Vec<u8>) {
        match login {
            Login::Plain(user, Secret(password)) => {
                (ClientExchange(State::Last), format!("\0{user}\0{password}").into_bytes())
            }
            Login::Token(Secret(token)) => {
                (ClientExchange(State::Last), format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").into_bytes())
            }
            Login::Scram(mechanism, user, password) | Login::DelegationToken(mechanism, user, password) => {
                let extension = if matches!(login, Login::DelegationToken(..)) { ",tokenauth=true" } else { "" };
                let name = user.replace('=', "=3D").replace(',', "=2C");
                let bare = format!("n={name},r={nonce}{extension}");
                let message = format!("n,,{bare}").into_bytes();
                let (mechanism, password) = (*mechanism, password.clone());
                (ClientExchange(State::ScramFirst { mechanism, password, bare, nonce: nonce.to_owned() }), message)
            }
        }
    }

    /// The server's message: what to send next; nothing if all is done.
    pub fn received(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Last if message.is_empty() => Ok(None),
            // OAUTHBEARER: the server says what it dislikes, and wants to hear one byte before it ends.
            State::Last => Ok(Some(vec![1])),
            State::ScramFirst { mechanism, password, bare, nonce } => {
                let (answer, signature) = prove(mechanism, &password, &bare, &nonce, message)?;
                self.0 = State::ScramLast { signature };
                Ok(Some(answer))
            }
            State::ScramLast { signature } => {
                let told = std::str::from_utf8(message).ok().and_then(|text| text.strip_prefix("v="));
                let told = told.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
                if bool::from(told.ct_eq(&signature)) { Ok(None) } else { Err("the server does not know the password") }
            }
            State::Over => Err("the server goes on after the end"),
        }
    }
}

fn prove(
    mechanism: ScramMechanism,
    Secret(password): &Secret,
    bare: &str,
    nonce: &str,
    message: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let first = std::str::from_utf8(message).map_err(|_| "the server's challenge is not UTF-8")?;
    let mut fields = first.split(',');
    let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
    let (both, salt, iterations) = (field("r="), field("s="), field("i="));
    let both = both.filter(|both| both.starts_with(nonce)).ok_or("the server answers to another nonce")?;
    let salt = salt.and_then(|salt| STANDARD.decode(salt).ok()).filter(|salt| salt.len() <= MAX_SALT_BYTES);
    let salt = salt.ok_or("the server's challenge has no salt")?;
    let iterations = iterations.and_then(|text| text.parse::<i32>().ok());
    let iterations = iterations.filter(|count| (1..=MAX_SERVERS_ITERATIONS).contains(count));
    let iterations = iterations.ok_or("the server's challenge has no usable number of iterations")?;
    let unproved = format!("c=biws,r={both}");
    let signed = format!("{bare},{first},{unproved}");
    let salted = salted_password(mechanism, password.as_bytes(), &salt, iterations);
    let proof = proof(mechanism, &salted, signed.as_bytes());
    let signature = hmac(mechanism, &hmac(mechanism, &salted, &[b"Server Key"]), &[signed.as_bytes()]);
    Ok((format!("{unproved},p={}", STANDARD.encode(proof)).into_bytes(), signature))
}

#[cfg(test)]
mod tests {
    use super::super::{Done, Exchange, Step};
    use super::*;
    use crate::scram::credential;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[test]
    fn client_and_server_agree_if_the_password_is_one() {
        for mechanism in ScramMechanism::ALL {
            for (password, right) in [("pencil", true), ("pen", false)] {
                let salted = salted_password(*mechanism, b"pencil", b"salt", 4096);
                let stored = credential(*mechanism, &salted, b"salt", 4096).unwrap();
                let login = Login::Scram(*mechanism, "a,b=c".into(), secret(password));
                let (mut client, first) = ClientExchange::begin(&login, "clients");
                let mut server = Exchange::new(login.mechanism());
                assert_eq!(server.received(&first), Step::Credential(*mechanism, "a,b=c".into()));
                let Step::Challenge(challenge) = server.found(stored, "servers") else { panic!("no challenge") };
                let last = client.received(&challenge).unwrap().unwrap();
                match server.received(&last) {
                    Step::Done(Done { user, reply }) => {
                        assert!(right && user == "a,b=c");
                        assert_eq!(client.received(&reply), Ok(None));
                    }
                    step => assert!(!right && matches!(step, Step::Failed(_))),
                }
            }
        }
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let login = Login::Scram(ScramMechanism::Sha256, "a".into(), secret("p"));
        let begin = || ClientExchange::begin(&login, "mine").0;
        for bad in
            ["", "r=other,s=c2FsdA==,i=4096", "r=mine,s=,i=0", "r=mine,s=!,i=4096", "r=mine,s=c2FsdA==,i=99999999"]
        {
            assert!(begin().received(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut client = begin();
        client.received(b"r=mine,s=c2FsdA==,i=4096").unwrap();
        assert!(client.received(b"v=AAAA").is_err());
    }

    #[test]
    fn plain_and_tokens_are_one_message() {
        let (mut client, first) = ClientExchange::begin(&Login::Plain("a".into(), secret("p")), "");
        assert_eq!((&first[..], client.received(b"")), (&b"\0a\0p"[..], Ok(None)));
        let login = Login::Token(secret("t"));
        let (mut client, first) = ClientExchange::begin(&login, "");
        assert_eq!(first, b"n,,\x01auth=Bearer t\x01\x01");
        assert_eq!(client.received(b"{}"), Ok(Some(vec![1])));
        assert!(!format!("{login:?}").contains('t') || !format!("{login:?}").contains("\"t\""));
    }
}
