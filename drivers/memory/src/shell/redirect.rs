//! Redirections: `<`, `>`, `>>`, `2>&1`.

use super::ast::{Redirect, Target, Word};
use super::eval::Shell;
use super::stdio::{Input, Sink};
use crate::files::clean;

impl Shell {
    pub(super) async fn redirect(&mut self, redirects: &[Redirect]) -> Result<(), String> {
        for redirect in redirects {
            match &redirect.target {
                Target::Same(1) => self.stderr = self.stdout.clone(),
                Target::Same(_) => self.stdout = self.stderr.clone(),
                Target::Read(word) => self.stdin = self.open_to_read(word).await?,
                Target::Write(word) => self.open_to_write(redirect.descriptor, word, false).await?,
                Target::Append(word) => self.open_to_write(redirect.descriptor, word, true).await?,
            }
        }
        Ok(())
    }

    async fn open_to_read(&mut self, word: &Word) -> Result<Input, String> {
        let path = self.expand_whole(word).await;
        match clean(&self.workdir, &path).as_str() {
            "/dev/null" => Ok(Input::empty()),
            "/dev/zero" => Ok(Input::new(tokio::io::repeat(0))),
            "/dev/stdin" => Ok(self.stdin.clone()),
            clean => match self.view.read(clean) {
                Ok(bytes) => Ok(Input::new(std::io::Cursor::new(bytes))),
                Err(error) => Err(format!("can't open {path}: {error}")),
            },
        }
    }

    async fn open_to_write(&mut self, descriptor: u8, word: &Word, append: bool) -> Result<(), String> {
        let path = self.expand_whole(word).await;
        let sink = match clean(&self.workdir, &path).as_str() {
            "/dev/null" => Sink::Null,
            "/dev/stdout" => self.stdout.clone(),
            "/dev/stderr" => self.stderr.clone(),
            clean => {
                let opened = self.view.write(clean, b"", append);
                opened.map_err(|error| format!("can't create {path}: {error}"))?;
                Sink::File(self.view.clone(), clean.to_owned())
            }
        };
        *(if descriptor == 2 { &mut self.stderr } else { &mut self.stdout }) = sink;
        Ok(())
    }
}
