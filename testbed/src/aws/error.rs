//! An answer that says no: the code, message and HTTP status that AWS would give.

/// What an action fails with; becomes `<Error>` in the service's own envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ApiError {
    /// A client error with status 400, which is what EC2 uses for nearly all of them.
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: code.into(),
            message: message.into(),
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn invalid_value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// EC2's `InvalidParameter`: the value is well formed, but does not go with the others.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameter", message)
    }
}
