//! A document that a command changes or makes: as JSON, in the order of its keys, and with comments where the format has them.

pub(super) mod print;

use mcp_policy::json::Value;

/// A value with comments.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
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
pub(super) struct TreeItem {
    /// Lines above it.
    pub(super) comments: Vec<String>,
    pub(super) value: Node,
}

/// The members of a mapping, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map(pub(super) Vec<TreeMember>);

/// One member of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TreeMember {
    /// Lines above it.
    pub(super) comments: Vec<String>,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// A string.
    pub(super) fn text(text: impl Into<String>) -> Node {
        Node::Text(text.into())
    }

    /// A number.
    pub(super) fn number(number: impl ToString) -> Node {
        Node::Plain(number.to_string())
    }

    /// A list without comments.
    pub(super) fn list(values: impl IntoIterator<Item = Node>) -> Node {
        Node::List(values.into_iter().map(TreeItem::from).collect())
    }

    /// A mapping without comments.
    pub(super) fn map<K: Into<String>>(members: impl IntoIterator<Item = (K, Node)>) -> Node {
        let mut map = Map::default();
        for (key, value) in members {
            map.push(key, value);
        }
        Node::Map(map)
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Node::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        if let Node::Map(map) = self { Some(map) } else { None }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Node::Map(map) = self { Some(map) } else { None }
    }

    /// The values of a list; none for anything else.
    pub(super) fn values(&self) -> impl Iterator<Item = &Node> {
        let items = if let Node::List(items) = self { items.as_slice() } else { &[] };
        items.iter().map(|item| &item.value)
    }

    /// Whether this is a list without members.
    pub(super) fn is_empty_list(&self) -> bool {
        *self == Node::List(Vec::new())
    }

    /// Changes every node, this one first.
    pub(super) fn visit(&mut self, change: &mut impl FnMut(&mut Node)) {
        change(self);
        match self {
            Node::List(items) => items.iter_mut().for_each(|item| item.value.visit(change)),
            Node::Map(map) => map.0.iter_mut().for_each(|member| member.value.visit(change)),
            Node::Plain(_) | Node::Text(_) => {}
        }
    }
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|member| member.key == key).map(|member| &mut member.value)
    }

    /// The text of a member that is a string.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.0.iter().position(|member| member.key == key)?;
        Some(self.0.remove(at).value)
    }

    /// Adds a member at the end.
    pub(super) fn push(&mut self, key: impl Into<String>, value: Node) {
        self.0.push(TreeMember { comments: Vec::new(), key: key.into(), value });
    }

    /// Adds items to a list member, which is made if it is not there.
    pub(super) fn extend(&mut self, key: &str, more: Vec<TreeItem>) {
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
