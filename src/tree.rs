//! A document that is changed or made: as JSON, in the order of its keys, and with comments where the format has them. For authors only.

pub mod notes;
pub mod print;

use crate::json::Value;

/// A value with comments.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A number, boolean or null, as JSON writes it.
    Plain(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<TreeItem>),
    /// A mapping.
    Map(Map),
}

/// One member of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeItem {
    /// Lines above it.
    pub comments: Vec<String>,
    /// What it is.
    pub value: Node,
}

/// The members of a mapping, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map(pub Vec<TreeMember>);

/// One member of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeMember {
    /// Lines above it.
    pub comments: Vec<String>,
    /// Its key.
    pub key: String,
    /// What it is.
    pub value: Node,
}

impl Node {
    /// A string.
    pub fn text(text: impl Into<String>) -> Node {
        Node::Text(text.into())
    }

    /// A number.
    pub fn number(number: impl ToString) -> Node {
        Node::Plain(number.to_string())
    }

    /// A list without comments.
    pub fn list(values: impl IntoIterator<Item = Node>) -> Node {
        Node::List(values.into_iter().map(TreeItem::from).collect())
    }

    /// A mapping without comments.
    pub fn map<K: Into<String>>(members: impl IntoIterator<Item = (K, Node)>) -> Node {
        let mut map = Map::default();
        for (key, value) in members {
            map.push(key, value);
        }
        Node::Map(map)
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        if let Node::Text(text) = self { Some(text) } else { None }
    }

    /// The members of a mapping.
    pub fn as_map(&self) -> Option<&Map> {
        if let Node::Map(map) = self { Some(map) } else { None }
    }

    /// The same, to be changed.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Node::Map(map) = self { Some(map) } else { None }
    }

    /// The values of a list; none for anything else.
    pub fn values(&self) -> impl Iterator<Item = &Node> {
        let items = if let Node::List(items) = self { items.as_slice() } else { &[] };
        items.iter().map(|item| &item.value)
    }

    /// Whether this is a list without members.
    pub fn is_empty_list(&self) -> bool {
        *self == Node::List(Vec::new())
    }

    /// Changes every node, this one first.
    pub fn visit(&mut self, change: &mut impl FnMut(&mut Node)) {
        change(self);
        match self {
            Node::List(items) => items.iter_mut().for_each(|item| item.value.visit(change)),
            Node::Map(map) => map.0.iter_mut().for_each(|member| member.value.visit(change)),
            Node::Plain(_) | Node::Text(_) => {}
        }
    }
}

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|member| member.key == key).map(|member| &mut member.value)
    }

    /// The text of a member that is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// Takes a member out.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.0.iter().position(|member| member.key == key)?;
        Some(self.0.remove(at).value)
    }

    /// Adds a member at the end.
    pub fn push(&mut self, key: impl Into<String>, value: Node) {
        self.0.push(TreeMember { comments: Vec::new(), key: key.into(), value });
    }

    /// Adds items to a list member, which is made if it is not there.
    pub fn extend(&mut self, key: &str, more: Vec<TreeItem>) {
        if more.is_empty() {
            return;
        }
        match self.get_mut(key) {
            Some(Node::List(items)) => items.extend(more),
            _ => self.push(key, Node::List(more)),
        }
    }
}

impl From<Node> for TreeItem {
    fn from(value: Node) -> TreeItem {
        TreeItem { comments: Vec::new(), value }
    }
}

impl From<&Value<'_>> for Node {
    fn from(value: &Value<'_>) -> Node {
        match value {
            Value::Null => Node::Plain("null".to_owned()),
            Value::Bool(flag) => Node::Plain(flag.to_string()),
            Value::Number(text) => Node::Plain(text.to_string()),
            Value::String(text) => Node::text(&**text),
            Value::Array(items) => Node::list(items.iter().map(Node::from)),
            Value::Object(object) => {
                Node::map(object.0.iter().map(|member| (&*member.key, Node::from(&member.value))))
            }
        }
    }
}
