//! Finding an agent again that is being restarted.

use std::time::Duration;

use crate::{ClientError, ProtocolError};

/// Pauses before each try to find the agent again: an agent that is being restarted is back by then.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Tries again while nobody answers, some seconds long.
pub(crate) async fn until_reached<T, F>(open: impl Fn() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut outcome = open().await;
    for pause in PAUSES {
        if !outcome.as_ref().is_err_and(is_passing) {
            break;
        }
        tokio::time::sleep(pause).await;
        outcome = open().await;
    }
    outcome
}

/// The agent is not there, or went away in the middle of the conversation.
const fn is_passing(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. } | ClientError::Protocol(ProtocolError::Connection(_)))
}
