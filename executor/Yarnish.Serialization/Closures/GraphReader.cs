using System.Collections.Concurrent;
using System.Globalization;
using System.Linq.Expressions;
using System.Numerics;
using System.Reflection;
using System.Runtime.CompilerServices;
using Newtonsoft.Json;

namespace Yarnish.Serialization;

/// <summary>Makes a graph of objects from its JSON: first all objects, then what is in them.</summary>
internal sealed class GraphReader(JsonTextReader input, ResolvedCode code, int inputLength)
{
    private readonly JsonTextReader json = input;

    internal static readonly MethodInfo ReadMethod = typeof(GraphReader).GetMethod(nameof(Read))!;

    private static readonly ConcurrentDictionary<Type, Func<GraphReader, object?>> Untyped = new();

    private readonly List<object> objects = [];
    private readonly List<Shape> shapes = [];
    private List<Action>? later;
    private bool ended;

    /// <summary>Reads the whole graph.</summary>
    public object ReadGraph()
    {
        Next(JsonToken.StartObject);
        Expect("root");
        json.Read();
        var root = Reference();
        Expect("objects");
        StartArray();
        while (NextItem())
        {
            CreateObject();
        }

        Expect("content");
        StartArray();
        while (NextItem())
        {
            ended = false;
            Expect("$id");
            var id = Read<int>();
            ended = false;
            shapes[id].Fill(objects[id], this);
        }

        // Hash tables come last, so that their keys are whole; inner ones were read after the ones that hold them.
        for (var index = (later?.Count ?? 0) - 1; index >= 0; index--)
        {
            later![index]();
        }

        return objects[root];
    }

    private void CreateObject()
    {
        ended = false;
        Expect("$id");
        if (Read<int>() != objects.Count)
        {
            throw new JsonSerializationException("the objects are not in their order");
        }

        string? kind = null;
        var name = NextName();
        if (name == "$kind")
        {
            kind = Read<string>();
            name = NextName();
        }

        if (name != "$type")
        {
            throw new JsonSerializationException("an object without a type");
        }

        var type = code.Types[Read<int>()];
        var shape = Shapes.Named(kind, type);
        objects.Add(shape.Create(type, this));
        shapes.Add(shape);
    }

    /// <summary>The next property's name; null at the end of the object.</summary>
    public string? NextName()
    {
        json.Read();
        if (json.TokenType == JsonToken.EndObject)
        {
            ended = true;
            return null;
        }

        return json.TokenType == JsonToken.PropertyName ? (string)json.Value! : throw Unexpected("a name");
    }

    /// <summary>The next property must have this name.</summary>
    public void Expect(string name)
    {
        if (NextName() != name)
        {
            throw Unexpected($"'{name}'");
        }
    }

    /// <summary>Passes over the rest of the object.</summary>
    public void SkipToEnd()
    {
        while (!ended && NextName() is not null)
        {
            json.Skip();
        }
    }

    /// <summary>Enters an array.</summary>
    public void StartArray() => Next(JsonToken.StartArray);

    /// <summary>Moves to the next item; false at the end of the array.</summary>
    public bool NextItem() => json.Read() && json.TokenType != JsonToken.EndArray;

    /// <summary>Reads the next value for a place of a type.</summary>
    public T Read<T>()
    {
        json.Read();
        return Current<T>();
    }

    /// <summary>Reads the value the reader stands on.</summary>
    public T Current<T>() => (ValueReader<T>.Function ??= Reading<T>())(this);

    /// <summary>Reads the next value for a place of a type.</summary>
    public object? ReadInline(Type type)
    {
        json.Read();
        return CurrentOf(type);
    }

    /// <summary>A method of the code table.</summary>
    public MethodInfo Method(int number) => code.Methods[number];

    /// <summary>Does something when all objects are whole.</summary>
    public void Later(Action action) => (later ??= []).Add(action);

    /// <summary>Refuses arrays larger than the bytes that are to fill them.</summary>
    public void Allow(long length)
    {
        if (length < 0 || length > inputLength)
        {
            throw new JsonSerializationException($"an array of {length} items in {inputLength} bytes");
        }
    }

    private object? CurrentOf(Type type) => Untyped.GetOrAdd(type, static type =>
    {
        var reader = Expression.Parameter(typeof(GraphReader));
        return Expression.Lambda<Func<GraphReader, object?>>(Expression.Convert(Expression.Call(reader, nameof(Current), [type]), typeof(object)), reader).Compile();
    })(this);

    private void Next(JsonToken token)
    {
        if (!json.Read() || json.TokenType != token)
        {
            throw Unexpected(token.ToString());
        }
    }

    private JsonSerializationException Unexpected(string wanted) =>
        new(string.Create(CultureInfo.InvariantCulture, $"found {json.TokenType} at {json.LinePosition} where {wanted} should be"));

    // "#12"
    private int Reference()
    {
        if (json.TokenType != JsonToken.String || json.Value is not string text || text.Length < 2 || text[0] != '#')
        {
            throw Unexpected("a reference");
        }

        return int.Parse(text.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture);
    }

    private static class ValueReader<T>
    {
        public static Func<GraphReader, T>? Function;
    }

    private static Func<GraphReader, T> Reading<T>()
    {
        var type = typeof(T);
        if (type == typeof(string))
        {
            return (Func<GraphReader, T>)(object)(Func<GraphReader, string?>)(static reader => reader.json.TokenType switch
            {
                JsonToken.String => ExactText.Decode((string)reader.json.Value!),
                JsonToken.Null => null,
                _ => throw reader.Unexpected("a string"),
            });
        }

        if (Number(type) is { } number)
        {
            return (Func<GraphReader, T>)number;
        }

        if (!type.IsValueType)
        {
            return static reader => reader.json.TokenType == JsonToken.Null ? default! : (T)reader.objects[reader.Reference()];
        }

        if (CoreTypes.Text(type) is { } form)
        {
            // ReadValue does not box.
            var read = (Func<string, T>)Delegate.CreateDelegate(typeof(Func<string, T>), form, form.GetType().GetMethod("ReadValue")!);
            return reader => read(reader.json.Value as string ?? throw reader.Unexpected("text"));
        }

        if (Nullable.GetUnderlyingType(type) is { } inner)
        {
            return reader => reader.json.TokenType == JsonToken.Null ? default! : (T)reader.CurrentOf(inner)!;
        }

        if (type.IsEnum)
        {
            return static reader => (T)Enum.ToObject(typeof(T), reader.json.Value is BigInteger large ? (object)(ulong)large : reader.json.Value ?? throw reader.Unexpected("a number"));
        }

        if (Shapes.WhyNot(type) is { } reason)
        {
            throw new CodeIdentityException($"The code of the stage wants a {TypeNames.Of(type)}: {reason}");
        }

        var shape = FieldsShape.For(type);
        return reader =>
        {
            if (reader.json.TokenType != JsonToken.StartObject)
            {
                throw reader.Unexpected("an object");
            }

            var box = RuntimeHelpers.GetUninitializedObject(typeof(T));
            shape.Fill(box, reader);
            reader.ended = false;
            return (T)box;
        };
    }

    private long Integer() => json.Value is long number ? number : throw Unexpected("a number");

    private double Real() => json.Value switch { double number => number, long number => number, _ => throw Unexpected("a number") };

    private static object? Number(Type type) => Type.GetTypeCode(type) switch
    {
        _ when type.IsEnum => null,
        TypeCode.Boolean => (Func<GraphReader, bool>)(static reader => reader.json.Value is bool boolean ? boolean : throw reader.Unexpected("true or false")),
        TypeCode.Byte => (Func<GraphReader, byte>)(static reader => checked((byte)reader.Integer())),
        TypeCode.SByte => (Func<GraphReader, sbyte>)(static reader => checked((sbyte)reader.Integer())),
        TypeCode.Char => (Func<GraphReader, char>)(static reader => checked((char)reader.Integer())),
        TypeCode.Int16 => (Func<GraphReader, short>)(static reader => checked((short)reader.Integer())),
        TypeCode.UInt16 => (Func<GraphReader, ushort>)(static reader => checked((ushort)reader.Integer())),
        TypeCode.Int32 => (Func<GraphReader, int>)(static reader => checked((int)reader.Integer())),
        TypeCode.UInt32 => (Func<GraphReader, uint>)(static reader => checked((uint)reader.Integer())),
        TypeCode.Int64 => (Func<GraphReader, long>)(static reader => reader.Integer()),
        TypeCode.Single => (Func<GraphReader, float>)(static reader => (float)reader.Real()),
        TypeCode.Double => (Func<GraphReader, double>)(static reader => reader.Real()),
        _ => null,
    };
}
