//! Writes the XML of an answer.

use std::fmt::{Display, Write as _};

/// XML under construction; text is escaped, element names are taken as they are.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    out: String,
}

impl Xml {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `<name>value</name>`
    pub(crate) fn text(&mut self, name: &str, value: impl Display) {
        self.element(name, |xml| xml.escaped(&value.to_string()));
    }

    /// The element only if there is a value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// `<name>` around what `inside` writes.
    pub(crate) fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.element_with(name, "", inside);
    }

    /// As `element`, with attributes written as they are.
    pub(crate) fn element_with(&mut self, name: &str, attributes: &str, inside: impl FnOnce(&mut Self)) {
        let space = if attributes.is_empty() { "" } else { " " };
        self.raw(&format!("<{name}{space}{attributes}>"));
        inside(self);
        self.raw(&format!("</{name}>"));
    }

    /// EC2's list: `<name><item>..</item>..</name>`
    pub(crate) fn items<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut inside: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |xml| {
            for item in items {
                xml.element("item", |xml| inside(xml, item));
            }
        });
    }

    /// The list of other services: `<name><member>..</member>..</name>`
    pub(crate) fn members<T>(
        &mut self,
        name: &str,
        members: impl IntoIterator<Item = T>,
        mut inside: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |xml| {
            for member in members {
                xml.element("member", |xml| inside(xml, member));
            }
        });
    }

    /// A list of plain values.
    pub(crate) fn values<T: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        self.items(name, values, |xml, value| xml.escaped(value.as_ref()));
    }

    /// What another writer wrote.
    pub(crate) fn append(&mut self, other: &Xml) {
        self.raw(&other.out);
    }

    /// The document, declaration included.
    pub(crate) fn document(self) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.out)
    }

    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Text inside an element.
    pub(crate) fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                // A literal carriage return would be read back as a line feed.
                '\r' => self.raw("&#xD;"),
                // XML 1.0 has no way to write the other control characters.
                c if c.is_control() && !matches!(c, '\n' | '\t') => {
                    let _ = write!(self.out, "\u{fffd}");
                }
                c => self.out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut xml = Xml::new();
        xml.text("value", "a<b>&\"c\"\r\u{1}");
        assert_eq!(xml.out, "<value>a&lt;b&gt;&amp;&quot;c&quot;&#xD;\u{fffd}</value>");
    }

    #[test]
    fn lists_are_items() {
        let mut xml = Xml::new();
        xml.values("set", ["a", "b"]);
        xml.optional("none", None::<&str>);
        assert_eq!(xml.out, "<set><item>a</item><item>b</item></set>");
    }
}
