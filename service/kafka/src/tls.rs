//! TLS at the Kafka door: the handshake, and who a client's certificate says it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{InvalidMessage, ServerConfig};
use tidelog_model::Principal;
use tidelog_security::distinguished_name::{MappingRules, subject};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Gives the configuration in force: certificates are renewed while the server runs.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// How a listener encrypts.
#[derive(Clone)]
pub struct TlsOptions {
    /// Certificates and keys.
    pub source: TlsSource,
    /// How the subject of a client's certificate becomes a principal.
    pub rules: MappingRules,
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// The handshake, once there is a place for one more. A client without a certificate (where none is required) is anonymous.
pub(crate) async fn accept(
    options: &TlsOptions,
    places: &Semaphore,
    patience: Duration,
    stream: TcpStream,
) -> io::Result<(TlsStream<TcpStream>, Principal)> {
    let shake = async {
        let _place = places.acquire().await.map_err(io::Error::other)?;
        TlsAcceptor::from((options.source)()).accept(stream).await
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it took too long");
    let stream = timeout(patience, shake).await.map_err(|_| late())?.map_err(plainly)?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let principal = match certificate {
        None => Principal::anonymous(),
        Some(certificate) => {
            let name = subject(certificate).and_then(|subject| options.rules.name(&subject));
            let unnamed = || io::Error::new(io::ErrorKind::InvalidData, "no rule names the client's certificate");
            Principal::user(&name.ok_or_else(unnamed)?)
        }
    };
    Ok((stream, principal))
}

/// The usual mistake by its name.
fn plainly(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS, and this listener does")
        }
        _ => error,
    }
}
