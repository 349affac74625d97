using System.Globalization;
using System.Linq.Expressions;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json.Serialization;
using CsvHelper;

namespace Yarnish.Sources;

/// <summary>One column as a type sees it.</summary>
/// <param name="Name">Its name in headers.</param>
/// <param name="Optional">Whether a file may lack it.</param>
internal readonly record struct CsvColumn(string Name, bool Optional);

/// <summary>
/// The columns of a row type: the parameters of its constructor and what else can be set, in the order of declaration. Compiled once for each type; safe for all threads.
/// </summary>
internal static class CsvColumns<T>
{
    private static readonly Lazy<Compiled> compiled = new(Compile);

    private sealed record Compiled(CsvColumn[] Columns, Func<CsvReader, int[], T> Read, Action<CsvWriter, T> Write);

    /// <summary>Rows that are nothing but their fields.</summary>
    public static bool AreFields => typeof(T) == typeof(string[]);

    /// <summary>Whether columns are told apart by their order only: tuples have no names that last.</summary>
    public static bool ByPosition => typeof(ITuple).IsAssignableFrom(typeof(T)) && typeof(T).IsValueType;

    /// <summary>The columns.</summary>
    /// <exception cref="ArgumentException">The type cannot be a row of CSV; the message names the member at fault.</exception>
    public static IReadOnlyList<CsvColumn> All => compiled.Value.Columns;

    /// <summary>A row from the fields of the reader's record; <c>columns</c> tells where each column stands, -1 for one that is missing.</summary>
    public static T Read(CsvReader reader, int[] columns) => compiled.Value.Read(reader, columns);

    /// <summary>Writes the fields of a row.</summary>
    public static void Write(CsvWriter writer, T row) => compiled.Value.Write(writer, row);

    private static Compiled Compile()
    {
        var type = typeof(T);
        var reader = Expression.Parameter(typeof(CsvReader), "reader");
        var columns = Expression.Parameter(typeof(int[]), "columns");
        var writer = Expression.Parameter(typeof(CsvWriter), "writer");
        var row = Expression.Parameter(type, "row");
        if (AreFields)
        {
            return new Compiled([], static (reader, _) => (T)(object)CsvFields.All(reader), static (writer, row) => CsvFields.WriteAll(writer, (string?[])(object)row!));
        }
        if (type.IsPrimitive || type == typeof(string) || type.IsInterface || type.IsAbstract || type.IsArray)
        {
            throw new ArgumentException($"{type} has no columns: rows of CSV are records, classes, structs, tuples, or string[] for the fields as they are.");
        }

        var nullability = new NullabilityInfoContext();
        var members = Members(type);
        var constructor = Constructor(type, members);
        var found = new List<CsvColumn>();
        var arguments = new List<Expression>();
        var taken = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        var writes = new List<Expression>();
        foreach (var parameter in constructor?.GetParameters() ?? [])
        {
            var member = members.First(member => member.Name.Equals(parameter.Name, StringComparison.OrdinalIgnoreCase));
            taken.Add(member.Name);
            var nullable = IsNullable(parameter.ParameterType, nullability.Create(parameter));
            arguments.Add(Add(member, parameter.ParameterType, nullable, parameter.HasDefaultValue, parameter.HasDefaultValue ? parameter.DefaultValue : null));
        }
        Expression made = constructor is null ? Expression.New(type) : Expression.New(constructor, arguments);
        var bindings = new List<MemberBinding>();
        foreach (var member in members.Where(member => !taken.Contains(member.Name) && IsSettable(member)))
        {
            var info = member is PropertyInfo property ? nullability.Create(property) : nullability.Create((FieldInfo)member);
            bindings.Add(Expression.Bind(member, Add(member, TypeOf(member), IsNullable(TypeOf(member), info), optional: false, null)));
        }
        if (found.Count == 0)
        {
            throw new ArgumentException($"{type} has no columns: give it a constructor with parameters that are properties, or properties that can be set.");
        }
        if (found.GroupBy(column => column.Name, StringComparer.OrdinalIgnoreCase).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ArgumentException($"{type} has two columns named '{twice.Key}'; capitals make no difference.");
        }
        if (bindings.Count > 0)
        {
            made = Expression.MemberInit((NewExpression)made, bindings);
        }
        return new Compiled(
            [.. found],
            Expression.Lambda<Func<CsvReader, int[], T>>(made, reader, columns).Compile(),
            Expression.Lambda<Action<CsvWriter, T>>(Expression.Block(writes), writer, row).Compile());

        Expression Add(MemberInfo member, Type memberType, bool nullable, bool optional, object? missing)
        {
            var field = CsvFields.Of(memberType) ?? throw new ArgumentException(
                $"{type}.{member.Name} is a {memberType}, which is no field of CSV: fields are text, numbers, times, enums and what else can be parsed (IParsable). Leave it out with [JsonIgnore], or select another row type.");
            var name = member.GetCustomAttribute<JsonPropertyNameAttribute>()?.Name ?? member.Name;
            var column = Expression.ArrayIndex(columns, Expression.Constant(found.Count));
            found.Add(new CsvColumn(name, optional || nullable));
            writes.Add(Expression.Call(field, "Write", null, writer, Expression.MakeMemberAccess(row, member)));
            // A constructor's default of a struct is null in the metadata, that of an enum a number.
            var inner = Nullable.GetUnderlyingType(memberType) ?? memberType;
            var otherwise = missing is null ? (Expression)Expression.Default(memberType)
                : Expression.Convert(Expression.Constant(inner.IsEnum ? Enum.ToObject(inner, missing) : missing, inner), memberType);
            return Expression.Call(field, "Read", null, reader, column, Expression.Constant(name), Expression.Constant(nullable), otherwise);
        }
    }

    private static List<MemberInfo> Members(Type type)
    {
        var chain = new List<Type>();
        for (var level = type; level is not null && level != typeof(object) && level != typeof(ValueType); level = level.BaseType)
        {
            chain.Insert(0, level);
        }
        return [.. chain.SelectMany(level => level.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Where(member => member is FieldInfo or PropertyInfo { GetMethod: { IsPublic: true } } && !(member is PropertyInfo property && property.GetIndexParameters().Length > 0))
            .Where(member => member.GetCustomAttribute<JsonIgnoreAttribute>() is null)
            .OrderBy(member => member.MetadataToken))
            .GroupBy(member => member.Name).Select(group => group.Last())];
    }

    /// <summary>The constructor with the most parameters all of which are members; null for a struct that has none.</summary>
    private static ConstructorInfo? Constructor(Type type, List<MemberInfo> members)
    {
        var constructors = type.GetConstructors(BindingFlags.Public | BindingFlags.Instance);
        var chosen = constructors.FirstOrDefault(candidate => candidate.GetCustomAttribute<JsonConstructorAttribute>() is not null)
            ?? constructors.Where(Fits).OrderByDescending(candidate => candidate.GetParameters().Length).FirstOrDefault();
        return chosen is not null || type.IsValueType
            ? chosen
            : throw new ArgumentException($"{type} has no public constructor all of whose parameters are its properties, and none without parameters.");

        bool Fits(ConstructorInfo candidate) => candidate.GetParameters().All(parameter => members.Any(member =>
            member.Name.Equals(parameter.Name, StringComparison.OrdinalIgnoreCase) && TypeOf(member) == parameter.ParameterType));
    }

    private static Type TypeOf(MemberInfo member) => member is PropertyInfo property ? property.PropertyType : ((FieldInfo)member).FieldType;

    private static bool IsSettable(MemberInfo member) => member is PropertyInfo { SetMethod.IsPublic: true } or FieldInfo { IsInitOnly: false };

    private static bool IsNullable(Type type, NullabilityInfo info) => Nullable.GetUnderlyingType(type) is not null || (!type.IsValueType && info.ReadState != NullabilityState.NotNull);
}

/// <summary>A field of a record that does not fit its column.</summary>
internal sealed class CsvFieldException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>How the values of columns are read and written. An unquoted empty field is null, a quoted one is empty text.</summary>
internal static class CsvFields
{
    /// <summary>The class that reads and writes fields of a type, with <c>Read</c> and <c>Write</c>; null when fields cannot have it.</summary>
    public static Type? Of(Type type)
    {
        if (type == typeof(string))
        {
            return typeof(TextField);
        }
        var inner = Nullable.GetUnderlyingType(type);
        var value = inner ?? type;
        var codec = value == typeof(DateTime) ? typeof(DateTimeCodec)
            : value == typeof(DateTimeOffset) ? typeof(DateTimeOffsetCodec)
            : value.IsEnum ? typeof(EnumCodec<>).MakeGenericType(value)
            : Implements(value, typeof(IUtf8SpanParsable<>)) ? typeof(Utf8Codec<>).MakeGenericType(value)
            : Implements(value, typeof(IParsable<>)) ? typeof(TextCodec<>).MakeGenericType(value)
            : null;
        return codec is null ? null
            : inner is not null ? typeof(NullableField<,>).MakeGenericType(inner, codec)
            : value.IsValueType ? typeof(ValueField<,>).MakeGenericType(value, codec)
            : typeof(ObjectField<,>).MakeGenericType(value, codec);

        static bool Implements(Type type, Type parsable) => type.GetInterfaces().Any(known =>
            known.IsGenericType && known.GetGenericTypeDefinition() == parsable && known.GetGenericArguments()[0] == type);
    }

    /// <summary>All fields of a record as text.</summary>
    public static string?[] All(CsvReader reader)
    {
        var fields = new string?[reader.FieldCount];
        for (var i = 0; i < fields.Length; i++)
        {
            fields[i] = IsNull(reader, i) ? null : reader.GetString(i);
        }
        return fields;
    }

    /// <summary>Writes fields that are text.</summary>
    public static void WriteAll(CsvWriter writer, string?[] fields)
    {
        foreach (var field in fields)
        {
            TextField.Write(writer, field);
        }
    }

    private static bool IsNull(CsvReader reader, int column) => reader.GetRawSpan(column).IsEmpty;

    private static T Parse<T, TCodec>(CsvReader reader, int column, string name)
        where TCodec : ICodec<T>
    {
        try
        {
            return TCodec.Parse(reader, column);
        }
        catch (Exception error) when (error is FormatException or OverflowException or ArgumentException)
        {
            throw new CsvFieldException($"Column '{name}' is no {typeof(T).Name}: {error.Message}", error);
        }
    }

    private static CsvFieldException Empty<T>(string name) => new($"Column '{name}' is empty, and {typeof(T).Name} has no empty value; make it nullable.");

    private interface ICodec<T>
    {
        static abstract T Parse(CsvReader reader, int column);

        static abstract string Format(T value);
    }

    private static class TextField
    {
        public static string? Read(CsvReader reader, int column, string name, bool nullable, string? missing) =>
            column < 0 ? missing : nullable && IsNull(reader, column) ? null : reader.GetString(column);

        public static void Write(CsvWriter writer, string? value)
        {
            if (value is null)
            {
                writer.WriteField(default(ReadOnlySpan<char>));
            }
            else
            {
                writer.WriteField(value, value.Length == 0 ? CsvQuoting.Always : CsvQuoting.WhenNeeded);
            }
        }
    }

    private static class ValueField<T, TCodec>
        where T : struct
        where TCodec : ICodec<T>
    {
        public static T Read(CsvReader reader, int column, string name, bool nullable, T missing) =>
            column < 0 ? missing : IsNull(reader, column) ? throw Empty<T>(name) : Parse<T, TCodec>(reader, column, name);

        public static void Write(CsvWriter writer, T value) => writer.WriteField(TCodec.Format(value));
    }

    private static class NullableField<T, TCodec>
        where T : struct
        where TCodec : ICodec<T>
    {
        public static T? Read(CsvReader reader, int column, string name, bool nullable, T? missing) =>
            column < 0 ? missing : IsNull(reader, column) ? null : Parse<T, TCodec>(reader, column, name);

        public static void Write(CsvWriter writer, T? value) => TextField.Write(writer, value is { } some ? TCodec.Format(some) : null);
    }

    private static class ObjectField<T, TCodec>
        where T : class
        where TCodec : ICodec<T>
    {
        public static T? Read(CsvReader reader, int column, string name, bool nullable, T? missing) =>
            column < 0 ? missing : IsNull(reader, column) ? (nullable ? null : throw Empty<T>(name)) : Parse<T, TCodec>(reader, column, name);

        public static void Write(CsvWriter writer, T? value) => TextField.Write(writer, value is null ? null : TCodec.Format(value));
    }

    private sealed class Utf8Codec<T> : ICodec<T>
        where T : IUtf8SpanParsable<T>
    {
        public static T Parse(CsvReader reader, int column) => T.Parse(reader.GetSpan(column), CultureInfo.InvariantCulture);

        public static string Format(T value) => Text(value);
    }

    private sealed class TextCodec<T> : ICodec<T>
        where T : IParsable<T>
    {
        public static T Parse(CsvReader reader, int column) => T.Parse(reader.GetString(column), CultureInfo.InvariantCulture);

        public static string Format(T value) => Text(value);
    }

    private sealed class EnumCodec<T> : ICodec<T>
        where T : struct, Enum
    {
        public static T Parse(CsvReader reader, int column) => Enum.Parse<T>(reader.GetString(column), ignoreCase: true);

        public static string Format(T value) => value.ToString();
    }

    private sealed class DateTimeCodec : ICodec<DateTime>
    {
        // Neither the machine's time zone nor its culture may change what is read.
        public static DateTime Parse(CsvReader reader, int column) => DateTime.Parse(reader.GetString(column), CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);

        public static string Format(DateTime value) => value.ToString("O", CultureInfo.InvariantCulture);
    }

    private sealed class DateTimeOffsetCodec : ICodec<DateTimeOffset>
    {
        public static DateTimeOffset Parse(CsvReader reader, int column) => DateTimeOffset.Parse(reader.GetString(column), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);

        public static string Format(DateTimeOffset value) => value.ToString("O", CultureInfo.InvariantCulture);
    }

    private static string Text<T>(T value) => value switch
    {
        bool flag => flag ? "true" : "false",
        DateOnly or TimeOnly => ((IFormattable)value).ToString("O", CultureInfo.InvariantCulture),
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value?.ToString() ?? "",
    };
}
