use super::Role;

/// Where a visitor is in a module: the fields that it passed, and what holds each of them.
#[derive(Default)]
pub(crate) struct Path(Vec<Field>);

/// A field as Burn shows it to visitors.
pub(super) struct Field {
    pub name: String,
    /// `Struct:Linear`, `Enum:Range`, `Vec`, `Reparameterization`.
    pub container: String,
}

impl Path {
    pub fn enter(&mut self, name: &str, container: &str) {
        self.0.push(Field { name: name.to_string(), container: container.to_string() });
    }

    pub fn exit(&mut self) {
        self.0.pop();
    }

    pub fn name(&self) -> String {
        // The variant of an enum is a matter of the code, not of the network.
        let fields = self.0.iter().filter(|field| !field.container.starts_with("Enum:"));
        fields.map(|field| field.name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// The role of the parameter here, which has so many axes and learns or does not.
    pub fn role(&self, rank: usize, learns: bool) -> Role {
        Role::of(&self.0, rank, learns)
    }
}
