//! An error with all that it is about, in words: for whoever reads a message, not for whoever writes the program.

use std::error::Error;

/// Before these words libraries put the names that their programs have for what went wrong.
const BEFORE_NAMES: [&str; 5] = [
    "invalid peer certificate: ",
    "received fatal alert: ",
    "received corrupt message of type ",
    "peer is incompatible: ",
    "peer misbehaved: ",
];
/// What a name means, where it does not say so itself.
const NAMES: [(&str, &str); 14] = [
    ("CaUsedAsEndEntity", "the certificate is a CA certificate and cannot be used as a server's"),
    ("EndEntityUsedAsCa", "it was signed by a certificate that is not a CA's"),
    ("UnknownIssuer", "its issuer is not a trusted CA"),
    ("Expired", "it has expired"),
    ("CertExpired", "it has expired"),
    ("NotValidYet", "it is not valid yet"),
    ("CertNotValidYet", "it is not valid yet"),
    ("Revoked", "it was revoked"),
    ("CertRevoked", "it was revoked"),
    ("NotValidForName", "it is for another name"),
    ("CertNotValidForName", "it is for another name"),
    ("BadEncoding", "it cannot be read"),
    ("BadSignature", "its signature is wrong"),
    ("RequiredEkuNotFound", "it is not meant for servers"),
];

/// What an error and each of its sources say, the outermost first. What was said before is not said again.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for one in std::iter::successors(Some(error), |error| (*error).source()) {
        let words = in_words(&one.to_string());
        if !said.iter().any(|before| before.contains(&words)) {
            said.push(words);
        }
    }
    said
}

/// [`causes`] in one line.
pub fn with_causes(error: &dyn Error) -> String {
    causes(error).join(": ")
}

/// The innermost of [`causes`]: the outer layers of an error may say no more than that there is one.
pub fn root_cause(error: &dyn Error) -> String {
    let innermost = std::iter::successors(Some(error), |error| (*error).source()).last();
    innermost.map(|error| in_words(&error.to_string())).unwrap_or_default()
}

/// The text with names of programs put into words.
pub fn in_words(text: &str) -> String {
    let found = BEFORE_NAMES.iter().find_map(|before| text.find(before).map(|at| at + before.len()));
    let Some(at) = found else { return text.to_owned() };
    let (head, tail) = text.split_at(at);
    let inner = ["Other(OtherError(", "Other("].iter().find_map(|shell| tail.strip_prefix(shell)).unwrap_or(tail);
    let end = inner.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !is_name(name) {
        return text.to_owned();
    }
    format!("{head}{}{}", meaning(name), rest.trim_start_matches(')'))
}

/// Written as programs write names: `LikeThis`, and no more than that.
fn is_name(word: &str) -> bool {
    let upper = |letter: char| letter.is_ascii_uppercase();
    word.starts_with(upper) && word.chars().any(|letter| letter.is_ascii_lowercase())
}

fn meaning(name: &str) -> String {
    if let Some((_, words)) = NAMES.iter().find(|(known, _)| *known == name) {
        return (*words).to_owned();
    }
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Told(&'static str, Option<Box<Told>>);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Told {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    fn chain(words: &[&'static str]) -> Told {
        let inner = words.get(1..).filter(|rest| !rest.is_empty()).map(|rest| Box::new(chain(rest)));
        Told(words[0], inner)
    }

    #[test]
    fn every_cause_is_said_once() {
        let error = chain(&["no connection: refused", "refused", "a third thing"]);
        assert_eq!(with_causes(&error), "no connection: refused: a third thing");
        assert_eq!(root_cause(&error), "a third thing");
    }

    #[test]
    fn names_of_programs_become_words() {
        for (text, words) in [
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                "invalid peer certificate: the certificate is a CA certificate and cannot be used as a server's",
            ),
            ("invalid peer certificate: Other(OtherError(NewTrouble))", "invalid peer certificate: new trouble"),
            ("invalid peer certificate: Expired", "invalid peer certificate: it has expired"),
            ("received fatal alert: HandshakeFailure", "received fatal alert: handshake failure"),
            (
                "received corrupt message of type InvalidContentType",
                "received corrupt message of type invalid content type",
            ),
        ] {
            assert_eq!(in_words(text), words);
        }
    }

    #[test]
    fn words_stay_as_they_are() {
        for text in [
            "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
            "Other(OtherError(X))",
            "no such host `ExampleName`",
            "received fatal alert: ",
        ] {
            assert_eq!(in_words(text), text);
        }
    }
}
