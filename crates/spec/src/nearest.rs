//! The known word that was probably meant.

/// Below this similarity (0 to 1) a suggestion confuses more than it helps.
const LEAST: f64 = 0.75;

/// The most similar of the known words, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score >= LEAST)
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}
