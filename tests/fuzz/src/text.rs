//! What people write: service files and env files.

use hythe_spec::{Files, env_file};

/// The first byte chooses the form, the rest is the file.
pub(crate) fn env_file(bytes: &[u8]) {
    let Some((form, text)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
    let read = if form % 2 == 0 { env_file::plain(&text, &lookup) } else { env_file::dotenv(&text, &lookup) };
    for (name, _) in read.into_iter().flatten() {
        assert!(!name.is_empty() && !name.contains('='), "`{name}` was taken for a name");
    }
}

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> std::io::Result<String> {
        if path.ends_with(".env") { Ok("A=1\nB=\"2\"\n".to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) }
    }

    fn base_dir(&self) -> &str {
        "/srv/app"
    }

    fn home(&self) -> Option<String> {
        Some("/root".to_owned())
    }

    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }
}

/// What is accepted can be written down and means the same when it is read again.
pub(crate) fn service(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match hythe_spec::parse("service.toml", &text, &NoFiles) {
        Ok(parsed) => {
            let written = hythe_spec::render(&parsed.service, &parsed.builds);
            let again = hythe_spec::parse("service.toml", &written, &NoFiles);
            let again = again.unwrap_or_else(|errors| panic!("what was rendered is refused: {errors}\n{written}"));
            assert_eq!(again.service, parsed.service, "{written}");
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}
