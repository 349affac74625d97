using System.Globalization;
using System.Reflection;
using System.Text;
using Newtonsoft.Json;

namespace Yarnish.Serialization;

/// <summary>Writes a scanned graph as JSON: the objects in an order in which they can be made, then their content.</summary>
// CA1001: the JSON writer owns nothing but a string builder.
#pragma warning disable CA1001
internal sealed class GraphWriter : IValueVisitor
#pragma warning restore CA1001
{
    private readonly GraphScan scan;
    private readonly int limit;
    private readonly StringBuilder text = new();
    private readonly JsonWriter json;
    private readonly int[] ids;
    private readonly List<int> order = [];
    private List<object>? needed;

    /// <param name="scan">The graph.</param>
    /// <param name="limit">How many bytes are too many; writing stops soon after.</param>
    public GraphWriter(GraphScan scan, int limit)
    {
        this.scan = scan;
        this.limit = limit;
        ids = new int[scan.Nodes.Count];
        Array.Fill(ids, -1);
        NodeSizes = new long[scan.Nodes.Count];
        // All ASCII: one char is one byte, and no text is lost to an encoding.
        json = new JsonTextWriter(new StringWriter(text, CultureInfo.InvariantCulture)) { StringEscapeHandling = StringEscapeHandling.EscapeNonAscii, FloatFormatHandling = FloatFormatHandling.Symbol };
    }

    /// <summary>Numbers for the code the graph names.</summary>
    public CodeTable Code { get; } = new();

    /// <summary>Bytes written for each object.</summary>
    public long[] NodeSizes { get; }

    /// <summary>Bytes written in place for the fields of each object.</summary>
    public Dictionary<(int Node, FieldInfo Field), long> FieldSizes { get; } = [];

    /// <summary>True when writing stopped because of the limit.</summary>
    public bool IsTooLarge { get; private set; }

    /// <summary>Whether a captured variable is ever read.</summary>
    public bool IsLoaded(FieldInfo field) => scan.IsLoaded(field);

    /// <summary>Writes everything.</summary>
    public StringBuilder Write()
    {
        for (var node = 0; node < ids.Length; node++)
        {
            Order(node);
        }

        json.WriteStartObject();
        json.WritePropertyName("root");
        json.WriteValue(Id(0));
        json.WritePropertyName("objects");
        json.WriteStartArray();
        foreach (var node in order)
        {
            Measured(node, WriteCreation);
        }

        json.WriteEndArray();
        json.WritePropertyName("content");
        json.WriteStartArray();
        foreach (var node in order)
        {
            if (scan.Nodes[node].Shape.HasContent(scan.Nodes[node].Value))
            {
                Measured(node, WriteContent);
            }
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return text;
    }

    private void Measured(int node, Action<int> write)
    {
        if (text.Length > limit)
        {
            IsTooLarge = true;
            return;
        }

        var before = text.Length;
        write(node);
        NodeSizes[node] += text.Length - before;
    }

    private void WriteCreation(int node)
    {
        var (value, shape) = (scan.Nodes[node].Value, scan.Nodes[node].Shape);
        json.WriteStartObject();
        json.WritePropertyName("$id");
        json.WriteValue(ids[node]);
        if (shape.Kind is { } kind)
        {
            json.WritePropertyName("$kind");
            json.WriteValue(kind);
        }

        json.WritePropertyName("$type");
        json.WriteValue(Code.Of(shape.NameOf(value)));
        shape.WriteCreation(value, this);
        json.WriteEndObject();
    }

    private void WriteContent(int node)
    {
        json.WriteStartObject();
        json.WritePropertyName("$id");
        json.WriteValue(ids[node]);
        scan.Nodes[node].Shape.WriteContent(scan.Nodes[node].Value, this);
        json.WriteEndObject();
    }

    // What an object needs to be made comes before it.
    private void Order(int node)
    {
        var waiting = new Stack<(int Node, bool Ready)>();
        waiting.Push((node, false));
        while (waiting.TryPop(out var next))
        {
            if (ids[next.Node] >= 0)
            {
                continue;
            }

            if (next.Ready)
            {
                ids[next.Node] = order.Count;
                order.Add(next.Node);
                continue;
            }

            waiting.Push((next.Node, true));
            needed = [];
            scan.Nodes[next.Node].Shape.VisitNeeded(scan.Nodes[next.Node].Value, this);
            foreach (var before in needed)
            {
                waiting.Push((scan.NumberOf(before), false));
            }
        }
    }

    void IValueVisitor.Value(object? value, Type place, Step step) => GraphScan.References(value, place, needed!);

    void IValueVisitor.Code(Type type)
    {
    }

    /// <summary>Begins a property.</summary>
    public void Name(string name) => json.WritePropertyName(name);

    /// <summary>Begins an array.</summary>
    public void StartArray() => json.WriteStartArray();

    /// <summary>Ends an array.</summary>
    public void EndArray() => json.WriteEndArray();

    /// <summary>Writes a field as a property.</summary>
    public void Field(string name, FieldInfo field, object owner, object value)
    {
        var before = text.Length;
        json.WritePropertyName(name);
        Value(value, field.FieldType);
        if (scan.TryNumberOf(owner, out var node))
        {
            FieldSizes[(node, field)] = text.Length - before;
        }
    }

    /// <summary>Writes a value for a place of a type: in place, or as the number of its object.</summary>
    public void Value(object? value, Type place)
    {
        if (value is null)
        {
            json.WriteNull();
        }
        else if (place.IsValueType || place == typeof(string))
        {
            Inline(value, value.GetType());
        }
        else
        {
            json.WriteValue(Id(scan.NumberOf(value)));
        }
    }

    /// <summary>Writes a value in place.</summary>
    public void Inline(object value, Type type)
    {
        if (type == typeof(string))
        {
            json.WriteValue(ExactText.Encode((string)value));
        }
        else if (type.IsEnum)
        {
            Number(Convert.ChangeType(value, Enum.GetUnderlyingType(type), CultureInfo.InvariantCulture));
        }
        else if (CoreTypes.Text(type) is { } form)
        {
            json.WriteValue(form.Write(value));
        }
        else if (CoreTypes.IsNumber(type))
        {
            Number(value);
        }
        else
        {
            json.WriteStartObject();
            FieldsShape.For(type).WriteContent(value, this);
            json.WriteEndObject();
        }
    }

    private void Number(object value)
    {
        switch (value)
        {
            case bool boolean:
                json.WriteValue(boolean);
                break;
            case double number:
                json.WriteValue(number);
                break;
            case float number:
                json.WriteValue((double)number);
                break;
            case char character:
                json.WriteValue((int)character);
                break;
            case ulong number:
                json.WriteValue(number);
                break;
            default:
                json.WriteValue(Convert.ToInt64(value, CultureInfo.InvariantCulture));
                break;
        }
    }

    private string Id(int node) => "#" + ids[node].ToString(CultureInfo.InvariantCulture);
}
