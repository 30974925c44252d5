//! What failures of a start are called in its spans.

use std::borrow::Cow;

use super::StartError;
use super::pulls::PullError;
use crate::contract::error_code::ErrorCode;
use crate::engine::EngineError;
use crate::telemetry::ErrorType;

impl ErrorType for EngineError {
    fn error_type(&self) -> Cow<'static, str> {
        match self {
            Self::NameTaken => "name_taken",
            Self::NoSuchContainer => "no_such_container",
            Self::ImageMissing => "image_missing",
            Self::Refused(_) => "refused",
            Self::Failed { code, .. } => code.as_str(),
        }
        .into()
    }
}

impl ErrorType for PullError {
    fn error_type(&self) -> Cow<'static, str> {
        match self {
            Self::Engine(error) => error.error_type(),
            Self::Limited { .. } => ErrorCode::ImagePullRateLimited.as_str().into(),
        }
    }
}

impl ErrorType for StartError {
    fn error_type(&self) -> Cow<'static, str> {
        match self {
            Self::InProgress { .. } => "in_progress",
            Self::Dismissed(_) => "dismissed",
            Self::Fenced => "taken_over",
            Self::Elsewhere { .. } => "elsewhere",
            Self::NoRoom { .. } => ErrorCode::HostFull.as_str(),
            Self::Store(_) => "store",
            Self::Engine { code, .. } | Self::NotBefore { code, .. } => code.as_str(),
        }
        .into()
    }
}
