using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Yarnish.Queues;

/// <summary>A piece of YAML with the line it stands in, counted from 1.</summary>
internal abstract record YamlNode(int Line);

/// <summary>A text. <paramref name="Empty"/> is true for a key without a value.</summary>
internal sealed record YamlScalar(int Line, string Value, bool Empty) : YamlNode(Line);

/// <summary>A list.</summary>
internal sealed record YamlSequence(int Line, List<YamlNode> Items) : YamlNode(Line);

/// <summary>Keys and values in the order of the text; no key comes twice.</summary>
internal sealed record YamlMapping(int Line, List<YamlEntry> Entries) : YamlNode(Line);

/// <summary>One key with its value and the line of the key.</summary>
internal sealed record YamlEntry(string Key, int Line, YamlNode Value);

/// <summary>The text cannot be taken as a tree; says where.</summary>
internal sealed class YamlRefusedException(int line, string key, string message) : Exception(message)
{
    public int Line { get; } = line;

    public string Key { get; } = key;
}

/// <summary>
/// Reads a small, plain part of YAML: maps, lists and texts. Anchors, aliases, merge keys and tags are refused: with them a few lines can unfold to gigabytes or
/// to a cycle, and a reader cannot see what a key means where it stands. Depth and size are bounded while reading.
/// </summary>
internal static class YamlTree
{
    public const int MaximumDepth = 48;
    public const int MaximumNodes = 200_000;

    public static YamlNode? Read(string text)
    {
        var reading = new Reading(new Parser(new Scanner(new StringReader(text), skipComments: true)));
        try
        {
            return reading.Document();
        }
        catch (YamlException error)
        {
            throw new YamlRefusedException((int)Math.Max(1, error.Start.Line), "", $"This is not YAML: {FirstLine(error)}");
        }
    }

    private static string FirstLine(YamlException error)
    {
        var message = (error.InnerException as YamlException ?? error).Message;
        var end = message.IndexOf('\n', StringComparison.Ordinal);
        return (end < 0 ? message : message[..end]).Trim();
    }

    private sealed class Reading(Parser parser)
    {
        private int nodes;

        public YamlNode? Document()
        {
            Next();
            if (!Is<DocumentStart>())
            {
                return null;
            }
            Next();
            var root = Node("", 0);
            if (Is<DocumentStart>())
            {
                throw new YamlRefusedException(Line(), "", "A second document begins here: one file holds one document.");
            }
            return root;
        }

        // The event the parser stands at is the node's first; afterwards it stands behind the node.
        private YamlNode Node(string key, int depth)
        {
            var line = Line();
            if (++nodes > MaximumNodes)
            {
                throw new YamlRefusedException(line, key, $"There are more than {MaximumNodes} keys and values.");
            }
            if (depth > MaximumDepth)
            {
                throw new YamlRefusedException(line, key, $"This is nested deeper than {MaximumDepth} levels.");
            }
            switch (parser.Current)
            {
                case AnchorAlias alias:
                    throw new YamlRefusedException(line, key, $"'*{alias.Value}' is an alias: anchors and aliases are not allowed here, write the value out.");
                case NodeEvent { Anchor.IsEmpty: false } anchored:
                    throw new YamlRefusedException(line, key, $"'&{anchored.Anchor.Value}' is an anchor: anchors and aliases are not allowed here, write the value out.");
                case NodeEvent { Tag: { IsEmpty: false, IsNonSpecific: false } } tagged:
                    throw new YamlRefusedException(line, key, $"'{tagged.Tag.Value}' is a tag: tags are not allowed here.");
                case Scalar scalar:
                    var plain = scalar.Style == ScalarStyle.Plain;
                    Next();
                    return new YamlScalar(line, scalar.Value, plain && scalar.Value is "" or "~" or "null");
                case SequenceStart:
                    return Sequence(line, key, depth);
                case MappingStart:
                    return Mapping(line, key, depth);
                default:
                    throw new YamlRefusedException(line, key, "A value was expected here.");
            }
        }

        private YamlSequence Sequence(int line, string key, int depth)
        {
            var items = new List<YamlNode>();
            Next();
            while (!Is<SequenceEnd>())
            {
                items.Add(Node($"{key}[{items.Count}]", depth + 1));
            }
            Next();
            return new YamlSequence(line, items);
        }

        private YamlMapping Mapping(int line, string key, int depth)
        {
            var entries = new List<YamlEntry>();
            var names = new Dictionary<string, int>(StringComparer.Ordinal);
            Next();
            while (!Is<MappingEnd>())
            {
                var at = Line();
                if (Node(key, depth + 1) is not YamlScalar name)
                {
                    throw new YamlRefusedException(at, key, "A key must be a plain text.");
                }
                var path = key.Length == 0 ? name.Value : $"{key}.{name.Value}";
                if (name.Value == "<<")
                {
                    throw new YamlRefusedException(at, path, "Merge keys are not allowed here, write the values out.");
                }
                if (!names.TryAdd(name.Value, at))
                {
                    throw new YamlRefusedException(at, path, $"'{Shorten(name.Value)}' stands here a second time, first in line {names[name.Value]}.");
                }
                entries.Add(new YamlEntry(name.Value, at, Node(path, depth + 1)));
            }
            Next();
            return new YamlMapping(line, entries);
        }

        private int Line() => (int)Math.Max(1, parser.Current?.Start.Line ?? 1);

        private bool Is<T>() => parser.Current is T;

        private bool Advance()
        {
            try
            {
                return parser.MoveNext();
            }
            catch (Exception error) when (error is InvalidOperationException or ArgumentException or IndexOutOfRangeException or NullReferenceException)
            {
                // YamlDotNet 18.1 stumbles over some broken flow mappings instead of saying where; a test finds them.
                throw new YamlRefusedException(Line(), "", "This is not YAML from about here on: look for a bracket, quote or colon that is missing or too many.");
            }
        }

        private void Next()
        {
            // Stream starts and document ends carry nothing.
            do
            {
                if (!Advance())
                {
                    return;
                }
            }
            while (parser.Current is StreamStart or DocumentEnd or Comment);
        }
    }

    internal static string Shorten(string text) => text.Length > 60 ? text[..60] + "…" : text;
}
