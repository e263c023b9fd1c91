//! A private `docker-registry` on a loopback port of its own choice.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// bcrypt of `sesame` for user `hythe`.
const HTPASSWD: &str = "hythe:$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `None` where the program is not installed. A locked one wants `hythe` and `sesame`.
pub(crate) fn server(locked: bool) -> Option<Server> {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
        at("data").display()
    );
    if locked {
        std::fs::write(at("htpasswd"), HTPASSWD).unwrap();
        config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", at("htpasswd").display());
    }
    std::fs::write(at("config.yml"), config).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(at("config.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: docker-registry cannot be started: {error}");
            return None;
        }
    };
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut server = Server { child, address: String::new(), directory };
    let line = log.find(|line| line.contains("listening on ")).unwrap();
    let (_, rest) = line.split_once("listening on ").unwrap();
    server.address = rest.split(['"', ' ']).next().unwrap().to_owned();
    std::thread::spawn(move || log.for_each(drop));
    Some(server)
}
