//! Networks of an ordinary user.

pub(crate) const TRIALS: &[crate::Named] = &[];
