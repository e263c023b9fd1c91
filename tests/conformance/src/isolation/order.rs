//! Which of two values of a fact is tighter.

/// An order of tightness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// A mask in hexadecimal digits: fewer bits.
    FewerBits,
    /// Words: fewer of them.
    FewerWords,
    /// Words: more of them.
    MoreWords,
    /// A number, or one of `max` and `unlimited`: a smaller one.
    Smaller,
    /// A number: a larger one.
    Larger,
    /// Any of these words before everything else.
    OneOf(&'static [&'static str]),
    /// Anything but these words before them.
    NoneOf(&'static [&'static str]),
    /// The fact is shown and not compared.
    Shown,
}

impl Order {
    pub(crate) fn at_least_as_tight(self, ours: Option<&str>, theirs: Option<&str>) -> bool {
        match (ours, theirs) {
            _ if self == Self::Shown => true,
            (_, None) => true,
            // A mount, a path or a list that is not there gives nothing away; a limit that is not there is none.
            (None, Some(_)) => !matches!(self, Self::Smaller | Self::Larger | Self::OneOf(_)),
            (Some(ours), Some(theirs)) => ours == theirs || self.is_tighter(ours, theirs),
        }
    }

    fn is_tighter(self, ours: &str, theirs: &str) -> bool {
        let all_of = |some: &str, others: &str| words(some).all(|word| words(others).any(|other| other == word));
        match self {
            Self::FewerBits => bits(ours).zip(bits(theirs)).is_some_and(|(ours, theirs)| ours & !theirs == 0),
            Self::FewerWords => all_of(ours, theirs),
            Self::MoreWords => all_of(theirs, ours),
            Self::Smaller => number(ours) <= number(theirs),
            Self::Larger => number(ours) >= number(theirs),
            Self::OneOf(tight) => tight.contains(&ours) || !tight.contains(&theirs),
            Self::NoneOf(loose) => !loose.contains(&ours) || loose.contains(&theirs),
            Self::Shown => true,
        }
    }

    pub(crate) fn describe(self) -> String {
        match self {
            Self::FewerBits => "fewer bits".to_owned(),
            Self::FewerWords => "fewer".to_owned(),
            Self::MoreWords => "more".to_owned(),
            Self::Smaller => "smaller".to_owned(),
            Self::Larger => "larger".to_owned(),
            Self::OneOf(tight) => tight.join(" or "),
            Self::NoneOf(loose) => format!("not {}", loose.join(" or ")),
            Self::Shown => "not compared".to_owned(),
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| *word != "none")
}

fn bits(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// What is no number is without bound.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Order::*;

    #[test]
    fn each_order_knows_the_tighter_value() {
        let pairs = [
            (FewerBits, "00000000800405fb", "00000000a80425fb"),
            (FewerWords, "0 1 2", "0 1 2 7"),
            (FewerWords, "none", "null"),
            (MoreWords, "nosuid nodev noexec ro", "ro nosuid"),
            (Smaller, "2048", "max"),
            (Larger, "0", "-999"),
            (OneOf(&["refused", "absent"]), "absent", "allowed"),
            (NoneOf(&["unconfined", "none"]), "docker-default (enforce)", "unconfined"),
        ];
        for (order, tight, loose) in pairs {
            assert!(order.at_least_as_tight(Some(tight), Some(loose)), "{order:?} {tight}");
            assert!(!order.at_least_as_tight(Some(loose), Some(tight)), "{order:?} {loose}");
            assert!(order.at_least_as_tight(Some(loose), Some(loose)), "{order:?} {loose}");
        }
        assert!(!Smaller.at_least_as_tight(None, Some("2048")), "a limit that is not there is none");
        assert!(FewerWords.at_least_as_tight(None, Some("x")));
    }
}
