//! Pens and fonts of what is beside the data.

use plotters::style::RGBColor;

use super::svg::{Font, Pen};

/// Words beside the data.
const QUIET: RGBColor = RGBColor(0x55, 0x55, 0x55);

/// Of numbers and the legend.
pub(super) const NUMBER: Font = Font { colour: RGBColor(0x22, 0x22, 0x22), size: 11.5, bold: false, upwards: false };
/// Of the labels of axes.
pub(super) const LABEL: Font = Font { size: 12.5, ..NUMBER };
/// Of titles.
pub(super) const TITLE: Font = Font { size: 13.5, bold: true, ..NUMBER };
/// Of the labels of marks.
pub(super) const NOTE: Font = Font { colour: QUIET, ..NUMBER };

/// Of frames and ticks.
pub(super) const FRAME: Pen = Pen { colour: RGBColor(0x80, 0x80, 0x80), width: 1.0, dashed: false };
/// Of lines at the numbers.
pub(super) const GRID: Pen = Pen { colour: RGBColor(0xe8, 0xe8, 0xe8), width: 0.8, dashed: false };
/// Of marks.
pub(super) const MARK: Pen = Pen { colour: QUIET, width: 1.1, dashed: true };
