namespace Yarnish.Serialization;

/// <summary>Names of types as a C# programmer writes them, for messages.</summary>
internal static class TypeNames
{
    private static readonly Dictionary<Type, string> Keywords = new()
    {
        [typeof(bool)] = "bool", [typeof(byte)] = "byte", [typeof(sbyte)] = "sbyte", [typeof(char)] = "char", [typeof(short)] = "short", [typeof(ushort)] = "ushort",
        [typeof(int)] = "int", [typeof(uint)] = "uint", [typeof(long)] = "long", [typeof(ulong)] = "ulong", [typeof(float)] = "float", [typeof(double)] = "double",
        [typeof(decimal)] = "decimal", [typeof(string)] = "string", [typeof(object)] = "object", [typeof(nint)] = "nint", [typeof(nuint)] = "nuint", [typeof(void)] = "void",
    };

    /// <summary>Such as <c>Dictionary&lt;string, int[]&gt;</c>; nested types without their outer type, unless that is what tells them apart.</summary>
    public static string Of(Type type)
    {
        if (Keywords.TryGetValue(type, out var keyword))
        {
            return keyword;
        }

        if (type.IsArray)
        {
            return $"{Of(type.GetElementType()!)}[{new string(',', type.GetArrayRank() - 1)}]";
        }

        if (type.IsPointer)
        {
            return $"{Of(type.GetElementType()!)}*";
        }

        if (Nullable.GetUnderlyingType(type) is { } inner)
        {
            return $"{Of(inner)}?";
        }

        if (type.Name.StartsWith("<>f__AnonymousType", StringComparison.Ordinal))
        {
            return $"anonymous type {{ {string.Join(", ", type.GetProperties().Select(property => property.Name))} }}";
        }

        // <Numbers>d__4 is what the iterator Numbers returns.
        if (type.Name.StartsWith('<') && type.Name.IndexOf(">d__", StringComparison.Ordinal) is > 0 and var end)
        {
            return $"iterator {type.Name[1..end]}";
        }

        if (!type.IsGenericType)
        {
            return type.Name;
        }

        var arguments = type.GetGenericArguments();
        var tick = type.Name.IndexOf('`', StringComparison.Ordinal);
        if (tick < 0)
        {
            // Nested in a generic type: the arguments belong to the outer one.
            return type.Name;
        }

        if (type.FullName?.StartsWith("System.ValueTuple`", StringComparison.Ordinal) == true)
        {
            return $"({string.Join(", ", arguments.Select(Of))})";
        }

        var own = int.Parse(type.Name.AsSpan(tick + 1), null);
        return $"{type.Name[..tick]}<{string.Join(", ", arguments.TakeLast(own).Select(Of))}>";
    }

    /// <summary>The name of the type that a user knows it by: hidden classes of the framework go by what they are.</summary>
    public static string OfVisible(Type type)
    {
        if (!Framework.Owns(type))
        {
            return Of(type);
        }

        for (var at = type; at is not null && at != typeof(object); at = at.BaseType)
        {
            if (at.IsVisible)
            {
                return Of(at);
            }
        }

        return Of(Array.Find(type.GetInterfaces(), of => of.IsGenericType && of.GetGenericTypeDefinition() == typeof(IEnumerable<>)) ?? type);
    }

    /// <summary>The name a field was given in source: <c>Db</c> for the field behind the property <c>Db</c>, <c>db</c> for a parameter of a primary constructor.</summary>
    public static string OfField(string field)
    {
        if (!field.StartsWith('<'))
        {
            return field;
        }

        var end = field.IndexOf('>', StringComparison.Ordinal);
        return end > 1 ? field[1..end] : field;
    }
}
