//! The keys that leave a session: ctrl-p ctrl-q, as in Docker and Podman.

const CTRL_P: u8 = 0x10;
const CTRL_Q: u8 = 0x11;

/// Looks for the keys in what is typed.
#[derive(Debug, Default)]
pub(super) struct DetachKeys {
    pending: bool,
}

/// What is left of some keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// For the process.
    pub(super) typed: Vec<u8>,
    /// The session is left after them.
    pub(super) detach: bool,
}

impl DetachKeys {
    /// A ctrl-p at the end is kept back until the next key shows what it was.
    pub(super) fn filter(&mut self, keys: &[u8]) -> Keys {
        let mut typed = Vec::with_capacity(keys.len() + 1);
        for &key in keys {
            match (self.pending, key) {
                (true, CTRL_Q) => {
                    return Keys { typed, detach: true };
                }
                (true, CTRL_P) => typed.push(CTRL_P),
                (true, _) => {
                    typed.extend([CTRL_P, key]);
                    self.pending = false;
                }
                (false, CTRL_P) => self.pending = true,
                (false, _) => typed.push(key),
            }
        }
        Keys { typed, detach: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&[u8]]) -> Keys {
        let mut keys = DetachKeys::default();
        let mut typed = Vec::new();
        for chunk in chunks {
            let found = keys.filter(chunk);
            typed.extend(found.typed);
            if found.detach {
                return Keys { typed, detach: true };
            }
        }
        Keys { typed, detach: false }
    }

    #[test]
    fn the_keys_are_found_across_reads_and_never_reach_the_process() {
        assert_eq!(all(&[b"ls\x10", b"\x11rest"]), Keys { typed: b"ls".to_vec(), detach: true });
        assert_eq!(all(&[b"\x10\x10\x11"]), Keys { typed: b"\x10".to_vec(), detach: true });
    }

    #[test]
    fn half_of_them_is_an_ordinary_key() {
        assert_eq!(all(&[b"\x10", b"a\x11"]), Keys { typed: b"\x10a\x11".to_vec(), detach: false });
    }
}
