using System.Globalization;
using System.Reflection;
using System.Runtime.Loader;
using Newtonsoft.Json;

namespace Yarnish.Serialization;

/// <summary>The code a graph names: assemblies with their identity, types, methods. Filled by the writer, numbers stand for entries.</summary>
internal sealed class CodeTable
{
    private readonly List<Assembly> assemblies = [];
    private readonly List<Type> types = [];
    private readonly List<MethodInfo> methods = [];
    private readonly Dictionary<object, int> numbers = [];

    /// <summary>The number of a type; its parts get numbers before it.</summary>
    public int Of(Type type)
    {
        if (numbers.TryGetValue(type, out var known))
        {
            return known;
        }

        if (type.IsArray)
        {
            Of(type.GetElementType()!);
        }
        else
        {
            Of(type.Assembly);
            foreach (var argument in type.IsGenericTypeDefinition ? [] : type.GetGenericArguments())
            {
                Of(argument);
            }
        }

        return Add(types, type);
    }

    /// <summary>The number of a method; its type and arguments get numbers before it.</summary>
    public int Of(MethodInfo method)
    {
        if (numbers.TryGetValue(method, out var known))
        {
            return known;
        }

        Of(method.DeclaringType!);
        foreach (var argument in method.IsGenericMethod ? method.GetGenericArguments() : [])
        {
            Of(argument);
        }

        return Add(methods, method);
    }

    private void Of(Assembly assembly)
    {
        if (!numbers.ContainsKey(assembly))
        {
            Add(assemblies, assembly);
        }
    }

    private int Add<T>(List<T> list, T item)
        where T : notnull
    {
        numbers[item] = list.Count;
        list.Add(item);
        return list.Count - 1;
    }

    /// <summary>Writes the table as one JSON object.</summary>
    public void Write(JsonWriter json)
    {
        json.WriteStartObject();
        json.WritePropertyName("version");
        json.WriteValue(ResolvedCode.Version);
        json.WritePropertyName("assemblies");
        json.WriteStartArray();
        foreach (var assembly in assemblies)
        {
            json.WriteStartObject();
            json.WritePropertyName("name");
            json.WriteValue(assembly.GetName().Name);
            if (!Framework.Owns(assembly))
            {
                var identity = CodeIdentity.Of(assembly);
                json.WritePropertyName("mvid");
                json.WriteValue(identity.Mvid.ToString("D"));
                json.WritePropertyName("sha256");
                json.WriteValue(identity.Sha256);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WritePropertyName("types");
        json.WriteStartArray();
        foreach (var type in types)
        {
            json.WriteStartObject();
            if (type.IsArray)
            {
                json.WritePropertyName("element");
                json.WriteValue(numbers[type.GetElementType()!]);
                json.WritePropertyName("rank");
                json.WriteValue(type.IsSZArray ? 0 : type.GetArrayRank());
            }
            else
            {
                json.WritePropertyName("assembly");
                json.WriteValue(numbers[type.Assembly]);
                json.WritePropertyName("name");
                json.WriteValue((type.IsGenericType ? type.GetGenericTypeDefinition() : type).FullName);
                WriteArguments(json, type.IsGenericTypeDefinition ? [] : type.GetGenericArguments());
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WritePropertyName("methods");
        json.WriteStartArray();
        foreach (var method in methods)
        {
            json.WriteStartObject();
            json.WritePropertyName("type");
            json.WriteValue(numbers[method.DeclaringType!]);
            if (!Framework.Owns(method.DeclaringType!))
            {
                json.WritePropertyName("token");
                json.WriteValue(method.MetadataToken);
            }

            json.WritePropertyName("name");
            json.WriteValue(method.Name);
            json.WritePropertyName("signature");
            json.WriteValue(SignatureOf(method));
            WriteArguments(json, method.IsGenericMethod ? method.GetGenericArguments() : []);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private void WriteArguments(JsonWriter json, Type[] arguments)
    {
        if (arguments.Length == 0)
        {
            return;
        }

        json.WritePropertyName("arguments");
        json.WriteStartArray();
        foreach (var argument in arguments)
        {
            json.WriteValue(numbers[argument]);
        }

        json.WriteEndArray();
    }

    /// <summary>The method as it was declared, type parameters open: the check beside the token.</summary>
    public static string SignatureOf(MethodInfo method) => method.Module.ResolveMethod(method.MetadataToken)!.ToString()!;
}

/// <summary>A code table found again in this process: every file verified, every type and method resolved.</summary>
internal sealed class ResolvedCode
{
    public const int Version = 1;

    private const BindingFlags Declared = BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    public required Type[] Types { get; init; }

    public required MethodInfo[] Methods { get; init; }

    /// <summary>Verifies and resolves a table.</summary>
    /// <exception cref="CodeIdentityException">A file differs, or a type or method is not there.</exception>
    public static ResolvedCode Read(string json)
    {
        var table = JsonConvert.DeserializeObject<Table>(json, new JsonSerializerSettings { TypeNameHandling = TypeNameHandling.None, DateParseHandling = DateParseHandling.None })
            ?? throw new CodeIdentityException("The code of the stage has no table of types: the block is damaged.");
        if (table.Version != Version)
        {
            throw new CodeIdentityException($"The code of the stage has format {table.Version}, this process reads {Version}: driver and executor run different versions of Yarnish.");
        }

        var assemblies = table.Assemblies.ConvertAll(Verify);
        var types = new Type[table.Types.Count];
        for (var index = 0; index < types.Length; index++)
        {
            types[index] = Resolve(table.Types[index], assemblies, types);
        }

        return new() { Types = types, Methods = [.. table.Methods.Select(row => Resolve(row, types))] };
    }

    private static Assembly Verify(AssemblyRow row)
    {
        Assembly assembly;
        try
        {
            // The context this code itself was loaded into: the application's.
            assembly = (AssemblyLoadContext.GetLoadContext(typeof(ResolvedCode).Assembly) ?? AssemblyLoadContext.Default).LoadFromAssemblyName(new AssemblyName(row.Name));
        }
        catch (Exception error) when (error is IOException or BadImageFormatException)
        {
            throw new CodeIdentityException($"The stage needs {row.Name}, which this process does not have: {error.Message} It must be part of the application's output folder.", error);
        }

        if (Framework.Owns(assembly))
        {
            return assembly;
        }

        var here = CodeIdentity.Of(assembly);
        if (row.Sha256 != here.Sha256 || row.Mvid != here.Mvid.ToString("D"))
        {
            throw new CodeIdentityException(
                $"{row.Name} is not the file the driver runs: the driver has MVID {row.Mvid ?? "none"}, SHA-256 {row.Sha256 ?? "none"}; this process has MVID {here.Mvid:D}, SHA-256 {here.Sha256}, from {assembly.Location}. "
                + "Never build again on an executor: start the application again, so that its files are shipped anew.");
        }

        return assembly;
    }

    private static Type Resolve(TypeRow row, List<Assembly> assemblies, Type[] types)
    {
        if (row.Element is { } element)
        {
            return row.Rank == 0 ? types[element].MakeArrayType() : types[element].MakeArrayType(row.Rank);
        }

        var assembly = assemblies[row.Assembly];
        var type = assembly.GetType(row.Name!) ?? throw new CodeIdentityException($"{assembly.GetName().Name} has no type {row.Name}: driver and executor run different builds.");
        return row.Arguments.Length == 0 ? type : type.MakeGenericType([.. row.Arguments.Select(index => types[index])]);
    }

    private static MethodInfo Resolve(MethodRow row, Type[] types)
    {
        var type = types[row.Type];
        // The token of a method of a generic type gives its open form: the closed one is found by the same token on the closed type. The framework's tokens move with its patches.
        var method = Array.Find(type.GetMethods(Declared), candidate => Framework.Owns(type)
            ? candidate.Name == row.Name && CodeTable.SignatureOf(candidate) == row.Signature
            : candidate.MetadataToken == row.Token);
        if (method is null || method.Name != row.Name || CodeTable.SignatureOf(method) != row.Signature)
        {
            throw new CodeIdentityException(string.Create(
                CultureInfo.InvariantCulture,
                $"{TypeNames.Of(type)} has no method {row.Name} ({row.Signature}) with token 0x{row.Token:x8}; found {(method is null ? "nothing" : CodeTable.SignatureOf(method))}: driver and executor run different builds."));
        }

        if (Framework.Owns(type) && !CoreTypes.MayCall(type))
        {
            throw new CodeIdentityException($"{TypeNames.Of(type)}.{row.Name} may not be called from outside: only functions of the application and of the framework's value types may be named.");
        }

        return row.Arguments.Length == 0 ? method : method.MakeGenericMethod([.. row.Arguments.Select(index => types[index])]);
    }

    private sealed class Table
    {
        public int Version { get; set; }

        public List<AssemblyRow> Assemblies { get; set; } = [];

        public List<TypeRow> Types { get; set; } = [];

        public List<MethodRow> Methods { get; set; } = [];
    }

    private sealed class AssemblyRow
    {
        public string Name { get; set; } = "";

        public string? Mvid { get; set; }

        public string? Sha256 { get; set; }
    }

    private sealed class TypeRow
    {
        public int Assembly { get; set; }

        public string? Name { get; set; }

        public int? Element { get; set; }

        public int Rank { get; set; }

        public int[] Arguments { get; set; } = [];
    }

    private sealed class MethodRow
    {
        public int Type { get; set; }

        public int Token { get; set; }

        public string Name { get; set; } = "";

        public string Signature { get; set; } = "";

        public int[] Arguments { get; set; } = [];
    }
}
