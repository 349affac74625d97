using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using Xunit;

namespace Yarnish.Tests.House;

/// <summary>What users of the SDK can call is written down: a change to it is a decision, seen in the diff of PublicSurface.txt.</summary>
public sealed class PublicSurfaceTests
{
    [Fact]
    public void The_public_surface_of_the_SDK_is_what_PublicSurface_txt_says()
    {
        var path = Path.Combine(Path.GetDirectoryName(Here())!, "PublicSurface.txt");
        var surface = Describe(typeof(YarnishSession).Assembly);
        if (Environment.GetEnvironmentVariable("YARNISH_ACCEPT") == "1")
        {
            File.WriteAllText(path, surface);
        }

        Assert.True(
            File.ReadAllText(path) == surface,
            $"The public surface of the SDK changed. When that is meant: YARNISH_ACCEPT=1 dotnet run --project tests/Yarnish.Tests -- -class {typeof(PublicSurfaceTests)}, and look at the diff.");
    }

    private static string Describe(Assembly assembly)
    {
        var text = new StringBuilder();
        foreach (var type in assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            text.Append(Kind(type)).Append(' ').Append(Name(type)).Append('\n');
            var members = type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
                .Where(member => !(member is MethodInfo { IsSpecialName: true } or TypeInfo) && member.GetCustomAttribute<CompilerGeneratedAttribute>() is null)
                .Select(Line)
                .Order(StringComparer.Ordinal);
            foreach (var member in members)
            {
                text.Append("    ").Append(member).Append('\n');
            }
        }
        return text.ToString();
    }

    private static string Kind(Type type) => type.IsEnum ? "enum" : type.IsInterface ? "interface" : type.IsValueType ? "struct" : type is { IsAbstract: true, IsSealed: true } ? "static class" : "class";

    private static string Line(MemberInfo member) => member switch
    {
        MethodInfo method => $"{Name(method.ReturnType)} {method.Name}{Generics(method.IsGenericMethod ? method.GetGenericArguments() : [])}({Parameters(method)})",
        ConstructorInfo constructor => $"new({Parameters(constructor)})",
        PropertyInfo property => $"{Name(property.PropertyType)} {property.Name} {{{(property.GetMethod?.IsPublic == true ? " get;" : "")}{(property.SetMethod?.IsPublic == true ? " set;" : "")} }}",
        FieldInfo field => field.IsLiteral ? $"{field.Name} = {field.GetRawConstantValue()}" : $"{Name(field.FieldType)} {field.Name}",
        _ => member.ToString()!,
    };

    private static string Parameters(MethodBase method) => string.Join(", ", method.GetParameters().Select(parameter => $"{Name(parameter.ParameterType)} {parameter.Name}{(parameter.HasDefaultValue ? "?" : "")}"));

    private static string Generics(Type[] arguments) => arguments.Length == 0 ? "" : $"<{string.Join(", ", arguments.Select(Name))}>";

    private static string Name(Type type) =>
        type.IsGenericParameter ? type.Name
        : type.IsArray ? Name(type.GetElementType()!) + "[]"
        : type.IsGenericType ? type.Name.Split('`')[0] + Generics(type.GetGenericArguments())
        : type.Name;

    private static string Here([CallerFilePath] string path = "") => path;
}
