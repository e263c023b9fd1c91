//! Long work: its kinds, its states, its phases, and what a deploy does to a component.

vocabulary! {
    /// Kinds of operations.
    OperationKind {
        /// Bring a service to a new generation.
        Deploy = "deploy",
        /// Stop workloads.
        Stop = "stop",
        /// Start workloads.
        Start = "start",
        /// Restart workloads.
        Restart = "restart",
        /// Send main processes a signal.
        Kill = "kill",
        /// Remove a service.
        Undeploy = "undeploy",
        /// Pull an image.
        Pull = "pull",
        /// Push an image.
        Push = "push",
        /// Build an image.
        Build = "build",
        /// Take images in from an archive.
        Load = "load",
        /// Keep the files of a workload.
        Snapshot = "snapshot",
        /// Replace a workload's instance with one made of a snapshot.
        Restore = "restore",
    }
}

vocabulary! {
    /// States of an operation.
    OperationState {
        /// At work.
        Running = "running",
        /// Done.
        Succeeded = "succeeded",
        /// Ended with an error.
        Failed = "failed",
        /// Withdrawn.
        Cancelled = "cancelled",
    }
}

vocabulary! {
    /// What an operation is doing, as its progress reports it.
    #[derive(Default)]
    ProgressPhase {
        /// A dependency, a health probe or a back-off is waited for.
        #[default]
        Waiting = "waiting",
        /// An image is being pulled.
        Pulling = "pulling",
        /// An image is being pushed.
        Pushing = "pushing",
        /// An image is being built.
        Building = "building",
        /// An archive is being read.
        Loading = "loading",
        /// An instance is being made and started.
        Starting = "starting",
        /// The instance runs.
        Running = "running",
        /// Its health probe succeeds.
        Healthy = "healthy",
        /// A main process is sent a signal.
        Signal = "signal",
        /// An instance is being stopped.
        Stopping = "stopping",
        /// It has stopped.
        Stopped = "stopped",
        /// Something is being removed.
        Removing = "removing",
        /// It is removed.
        Removed = "removed",
        /// A snapshot is being made.
        Committing = "committing",
        /// It cannot be done.
        Failed = "failed",
    }
}

vocabulary! {
    /// What a deploy does to a component.
    ComponentAction {
        /// It is new.
        Create = "create",
        /// It gets a new instance.
        Replace = "replace",
        /// Its instance is started or stopped, or only the record of what is desired changes.
        Change = "change",
        /// Its main process is sent a signal, because mounted files have changed.
        Signal = "signal",
        /// It is restarted after a dependency.
        Restart = "restart",
        /// Its image is pulled again; it gets a new instance where that is another one.
        Pull = "pull",
        /// Nothing.
        Keep = "keep",
        /// It is no longer described.
        Remove = "remove",
    }
}
