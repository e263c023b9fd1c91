//! The words that the agent reports: kinds of events and operations, states, health, causes.
//!
//! For: one enum each, used alike by the store, the controller, the API and its clients; the names on the wire stand here alone.
//! Not for: what a user asks for, which is the rest of this crate, or what one engine says (see `runtime`).

/// Defines an enum by its values, each with its documentation and its name.
macro_rules! vocabulary {
    (
        $(#[$outer:meta])*
        $name:ident {
            $($(#[$inner:meta])* $value:ident = $text:tt,)+
        }
    ) => {
        $(#[$outer])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $name {
            $($(#[$inner])* #[serde(rename = $text)] $value,)+
        }

        impl $name {
            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl crate::vocabulary::Vocabulary for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn as_str(self) -> &'static str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

mod event;
mod open;
mod operation;
mod workload;

pub use event::EventKind;
pub use open::OpenEnum;
pub use operation::{ComponentAction, OperationKind, OperationState, ProgressPhase};
pub use workload::{Desired, DriftCause, ExitCause, HealthState, WorkloadState};

/// An enum whose values have one name each, the same in JSON, in the database and in the API's document.
pub trait Vocabulary: Copy + 'static {
    /// Every value, in the order of the document.
    const ALL: &'static [Self];

    /// Its name.
    fn as_str(self) -> &'static str;

    /// The value of this name.
    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == name)
    }
}
