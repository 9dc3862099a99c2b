//! What was computed.

use serde::Serialize;

use super::descents::{DescentRow, Walk};
use super::request::Request;
use super::statements::Statement;

/// What theory says and descent does.
#[derive(Clone, Debug, Serialize)]
pub struct TwoLayerReport {
    /// The teacher's output weights.
    pub v_star: Vec<f64>,
    /// Angle of the saddle in degrees; none without one.
    pub saddle_angle: Option<f64>,
    /// Whether there is a spurious minimum, which lies at 180 degrees.
    pub spurious_minimum: bool,
    /// Statements with the numbers that were found.
    pub statements: Vec<Statement>,
    /// Where each descent led.
    pub descents: Vec<DescentRow>,
    #[serde(skip)]
    pub(super) paths: Vec<Walk>,
    #[serde(skip)]
    pub(super) request: Request,
}
