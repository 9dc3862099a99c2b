use serde::Serialize;

/// A recipe: its name and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecipeEntry {
    /// The word on the command line and in configs.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Its stages, in their order.
    pub stages: &'static [&'static str],
}

impl RecipeEntry {
    /// The stage with whose network a run ends.
    pub fn last_stage(&self) -> &'static str {
        self.stages.last().copied().unwrap_or_default()
    }
}

/// All recipes.
pub static RECIPES: [RecipeEntry; 1] = [RecipeEntry {
    name: "qat",
    summary: "train a float network, quantise it, train on with quantisation (QAT), export and verify the packed model",
    stages: &["float", "quantized"],
}];
