//! The front's side of the signer socket: starts the signer, restarts it when it dies or hangs.
