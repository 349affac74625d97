using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace Yarnish.Analyzers;

/// <summary>Looks at the types by which rows are grouped and joined.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class KeyAnalyzer : DiagnosticAnalyzer
{
    private const int MaxDepth = 6;

    private static readonly HashSet<string> Values =
    [
        "System.Guid", "System.DateTimeOffset", "System.TimeSpan", "System.DateOnly", "System.TimeOnly", "System.Half", "System.Int128", "System.UInt128", "System.Text.Rune", "System.Numerics.BigInteger",
    ];

    private static readonly HashSet<string> Sequences = ["List", "ImmutableArray", "ImmutableList", "IList", "IReadOnlyList"];

    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rules.Key];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.EnableConcurrentExecution();
        context.RegisterOperationAction(Invocation, OperationKind.Invocation);
    }

    private static void Invocation(OperationAnalysisContext context)
    {
        var call = (IInvocationOperation)context.Operation;
        var method = call.TargetMethod;
        // Sorting and extremes compare keys, they do not hash them; KeyBy, Keys and the like only shape rows.
        if (!YarnishApi.IsCollectionCall(method) || method.Name.StartsWith("OrderBy", StringComparison.Ordinal) || method.Name is "KeyBy" or "Keys" or "Values" or "SelectValues" or "SelectManyValues" or "MinByAsync" or "MaxByAsync")
        {
            return;
        }

        var key = method.Name == "Distinct" && method.ContainingType is { Name: "Rdd", TypeArguments.Length: 1 } ? method.ContainingType.TypeArguments[0]
            : method.TypeParameters.FirstOrDefault(parameter => parameter.Name == "TKey") is { } parameter ? method.TypeArguments[parameter.Ordinal]
            : null;
        if (key is not null && WhyNot(key, [], 0) is { } reason)
        {
            context.ReportDiagnostic(Diagnostic.Create(Rules.Key, call.Syntax.GetLocation(), Culprit.Short(key), method.Name, reason));
        }
    }

    private static string? WhyNot(ITypeSymbol type, HashSet<ITypeSymbol> seen, int depth)
    {
        if (depth > MaxDepth || !seen.Add(type) || type is ITypeParameterSymbol or IErrorTypeSymbol)
        {
            return null;
        }

        if (type.TypeKind == TypeKind.Enum || type.SpecialType is SpecialType.System_String or SpecialType.System_Decimal or SpecialType.System_DateTime
            || (type.SpecialType is >= SpecialType.System_Boolean and <= SpecialType.System_Double)
            || Values.Contains($"{type.ContainingNamespace?.ToDisplayString()}.{type.Name}")
            || type.AllInterfaces.Any(of => of.Name == "IStableKey"))
        {
            return null;
        }

        if (type is IArrayTypeSymbol array)
        {
            return WhyNot(array.ElementType, seen, depth + 1);
        }

        if (type is not INamedTypeSymbol named)
        {
            return "it has no equality that another process could follow. Use a value";
        }

        if (named.IsTupleType || named.OriginalDefinition.SpecialType == SpecialType.System_Nullable_T || (named.IsGenericType && (Sequences.Contains(named.Name) || named.Name is "KeyValuePair" or "Tuple")))
        {
            return named.TypeArguments.Select(argument => WhyNot(argument, seen, depth + 1)).FirstOrDefault(reason => reason is not null);
        }

        if (named.IsAnonymousType)
        {
            return named.GetMembers().OfType<IPropertySymbol>().Select(property => WhyNot(property.Type, seen, depth + 1)).FirstOrDefault(reason => reason is not null);
        }

        if (named.SpecialType == SpecialType.System_Object || named.TypeKind == TypeKind.Interface)
        {
            return $"nothing says what a {Culprit.Short(named)} will hold. Use the concrete type";
        }

        if (named.TypeKind == TypeKind.Delegate)
        {
            return "functions have no equality that another process could follow. Use a value";
        }

        if (!named.IsRecord && named.TypeKind == TypeKind.Class)
        {
            return HasEquals(named)
                ? $"{named.Name} has an Equals of its own, whose hash no other process could follow. Make it a record, or implement IStableKey"
                : $"two {named.Name} are equal only when they are the same object, and after travelling they never are. Make it a record, or use one of its members as the key";
        }

        if (HasEquals(named))
        {
            return $"{named.Name} has an Equals of its own, whose hash no other process could follow. Implement IStableKey, or use one of its members as the key";
        }

        if (named is { IsRecord: true, TypeKind: TypeKind.Class } && Changing(named) is { } changing)
        {
            return $"{named.Name}.{changing} can be set after the key was hashed. Make it init-only";
        }

        return Travel.Bases(named)
            .SelectMany(at => at.GetMembers().OfType<IFieldSymbol>())
            .Where(field => !field.IsStatic && !field.IsConst)
            .Select(field => WhyNot(field.Type, seen, depth + 1))
            .FirstOrDefault(reason => reason is not null);
    }

    // Written by hand: a record's own Equals is declared by the compiler.
    private static bool HasEquals(INamedTypeSymbol type) => type.GetMembers("Equals").OfType<IMethodSymbol>().Any(method => !method.IsStatic && !method.IsImplicitlyDeclared && method.Parameters.Length == 1);

    private static string? Changing(INamedTypeSymbol type) => Travel.Bases(type)
        .SelectMany(at => at.GetMembers())
        .FirstOrDefault(member => !member.IsStatic && !member.IsImplicitlyDeclared && member.DeclaredAccessibility == Accessibility.Public
            && (member is IPropertySymbol { SetMethod: { IsInitOnly: false, DeclaredAccessibility: Accessibility.Public } } || member is IFieldSymbol { IsReadOnly: false, IsConst: false }))
        ?.Name;
}
