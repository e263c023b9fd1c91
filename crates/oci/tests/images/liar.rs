//! A registry that lies as it is told to: every request goes to a function of the test, in plain or over TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Everything up to the body, as it came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn has_credentials(&self) -> bool {
        self.head.to_lowercase().contains("\nauthorization:")
    }
}

/// What is answered: status and headers, a body, and how it is sent.
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    /// Bytes at a time and the pause after them.
    pieces: Option<(usize, Duration)>,
    silent: bool,
}

pub(crate) fn reply(head: &str, body: &[u8]) -> Reply {
    Reply { head: head.to_owned(), body: body.to_vec(), pieces: None, silent: false }
}

pub(crate) fn to(place: &str) -> Reply {
    reply(&format!("307 Temporary Redirect\r\nLocation: {place}"), b"")
}

pub(crate) fn absent() -> Reply {
    reply("404 Not Found", br#"{"errors":[{"code":"UNKNOWN","message":"unknown"}]}"#)
}

impl Reply {
    pub(crate) fn in_pieces(self, bytes: usize, pause: Duration) -> Self {
        Self { pieces: Some((bytes, pause)), ..self }
    }

    pub(crate) fn silence() -> Self {
        Self { silent: true, ..reply("", b"") }
    }
}

type Answer = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

pub(crate) struct Liar {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Liar {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve("127.0.0.1:0", None, Arc::new(answer)).unwrap()
    }

    /// Over TLS, with the certificate of an authority.
    pub(crate) fn secure(authority: &Authority, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::secure_at("127.0.0.1:0", authority, answer).unwrap()
    }

    /// At an address that only root may have.
    pub(crate) fn secure_at(
        address: &str,
        authority: &Authority,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Self::serve(address, Some(authority.server()), Arc::new(answer))
    }

    fn serve(address: &str, tls: Option<Arc<ServerConfig>>, answer: Answer) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, answer, log) = (tls.clone(), Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || match tls {
                    None => talk(stream, &answer, &log),
                    Some(tls) => {
                        talk(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &answer, &log);
                    }
                });
            }
        });
        Ok(Self { address, asked })
    }

    /// Everything that was asked about paths that hold `part`.
    pub(crate) fn asked(&self, part: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.contains(part)).cloned().collect()
    }
}

/// One request a connection.
fn talk(mut stream: impl Read + Write, answer: &Answer, log: &Mutex<Vec<Asked>>) {
    let Some(asked) = read(&mut stream) else { return };
    log.lock().unwrap().push(asked.clone());
    let reply = answer(&asked);
    if reply.silent {
        std::thread::sleep(Duration::from_secs(20));
        return;
    }
    let body = if asked.method == "HEAD" { &[][..] } else { &reply.body };
    let length = reply.body.len();
    let head = format!("HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n", reply.head);
    if stream.write_all(head.as_bytes()).is_err() {
        return;
    }
    let (size, pause) = reply.pieces.unwrap_or((body.len().max(1), Duration::ZERO));
    for piece in body.chunks(size) {
        if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
    stream.flush().ok();
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end + 4);
    let lower = head.to_lowercase();
    let length = lower.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    while body.len() < length.unwrap_or(0) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        body.extend_from_slice(&buffer[..read]);
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Asked { method, path, head, body })
}

/// Whoever signs certificates of the test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        rustls::crypto::ring::default_provider().install_default().ok();
        let config = ServerConfig::builder().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

/// A connection that is let go at once: nothing listens at the address that it had.
pub(crate) fn closed_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(TcpStream::connect(&address));
    drop(listener);
    address
}
