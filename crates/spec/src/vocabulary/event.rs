//! Kinds of events.

vocabulary! {
    /// What happened.
    EventKind {
        /// A workload was deployed: another generation of it is desired, or something about it.
        Deployed = "deployed",
        /// A user asked for a stop, a start, a restart, a signal or the removal of a workload (`details.request`).
        Requested = "requested",
        /// An instance was made.
        Created = "created",
        /// An instance was started. `details.synthesised`: the agent saw that by itself, no engine reported it.
        Started = "started",
        /// The health probe of a workload succeeds.
        Ready = "ready",
        /// The health probe of a workload has failed too often in a row.
        Unhealthy = "unhealthy",
        /// The engine changed an instance, out of band or not (`details.what`).
        Updated = "updated",
        /// An instance was paused out of band.
        Paused = "paused",
        /// A paused instance goes on.
        Unpaused = "unpaused",
        /// An instance was sent a signal (`details.signal`).
        Signalled = "signalled",
        /// The kernel killed a process of an instance for lack of memory.
        Oom = "oom",
        /// The main process of an instance ended (`details.code`).
        Exited = "exited",
        /// A workload ended with exit code 0 and is not started again.
        Completed = "completed",
        /// The agent stopped a workload, as desired.
        Stopped = "stopped",
        /// A workload ended and is started again after a pause (`details.cause`).
        Restarting = "restarting",
        /// A workload cannot be brought up, or ended and is not started again.
        Failed = "failed",
        /// A replacement failed: the instance from before runs again.
        RolledBack = "rolled-back",
        /// Mounted files have changed: the main process was sent a signal, or the instance is replaced.
        Reload = "reload",
        /// A workload, or a service whose removal had failed, was removed.
        Removed = "removed",
        /// An instance differs from what is desired (`details.differences`), or no longer does (`details.cleared`).
        Drift = "drift",
        /// An instance is replaced because it differs from what is desired.
        Healing = "healing",
        /// An instance became a workload: a user adopted it, or the agent read it back from its labels.
        Adopted = "adopted",
        /// The garbage collector removed something (`details.object`).
        Collected = "collected",
        /// Something deserves a look, and the agent goes on.
        Warning = "warning",
        /// An image was pulled.
        ImagePulled = "image.pulled",
        /// A snapshot was made.
        SnapshotCreated = "snapshot.created",
        /// A snapshot was removed.
        SnapshotRemoved = "snapshot.removed",
        /// A runtime does not answer any more.
        RuntimeDisconnected = "runtime.disconnected",
        /// A runtime answers again.
        RuntimeReconnected = "runtime.reconnected",
        /// Events of a runtime are lost: it keeps none so old. Its instances were listed again.
        RuntimeGap = "runtime.gap",
        /// An alert was delivered.
        AlertSent = "alert.sent",
        /// An alert could not be delivered.
        AlertFailed = "alert.failed",
        /// Only in a stream, never stored: events after `details.from` up to `details.to` were not given to this reader, because retention
        /// has removed them (`details.lost`), or because it took none and is cut off here.
        Gap = "gap",
    }
}
