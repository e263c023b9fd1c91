//! What the host and the init of a guest say to each other.
//!
//! - The host gives a [`Config`] as JSON through fw_cfg, at [`CONFIG`].
//! - Standard output and standard error of the main process are plain bytes on two virtio-serial ports,
//!   [`STDOUT_PORT`] and [`STDERR_PORT`]. With a terminal, everything is on [`STDOUT_PORT`].
//! - [`CONTROL_PORT`] carries [`Frame`]s in both directions: an [`Event`] from the guest, a [`Command`] from the host,
//!   and the bytes of streams.
//!
//! Flow control: the sender of a stream may have [`WINDOW`] bytes under way. The receiver gives back what
//! it has consumed, with [`Command::Consumed`] or [`Event::Consumed`]. An empty data frame is the end of a stream.

mod config;
mod frame;
mod message;

pub use config::*;
pub use frame::{Channel, Decoder, Frame, FrameError, MAX_DATA, MAX_FRAME};
pub use message::*;

/// The version that both sides must have.
pub const VERSION: u32 = 1;
/// Where the guest's configuration is in fw_cfg.
pub const CONFIG: &str = "opt/hythe/config";
/// The virtio-serial port of frames.
pub const CONTROL_PORT: &str = "hythe.control";
/// The virtio-serial port of the main process's standard output.
pub const STDOUT_PORT: &str = "hythe.stdout";
/// The virtio-serial port of the main process's standard error.
pub const STDERR_PORT: &str = "hythe.stderr";
/// The serial number of the disk with the root file system.
pub const ROOT_SERIAL: &str = "root";
/// Bytes of one stream that may be under way without having been consumed.
pub const WINDOW: u64 = 256 << 10;
/// The id of the main process, where commands and streams name a process.
pub const MAIN: u32 = 0;
