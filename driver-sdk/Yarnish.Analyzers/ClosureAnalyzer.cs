using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace Yarnish.Analyzers;

/// <summary>Looks at the functions given to collections, while they are typed: what they capture, change, and depend on.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class ClosureAnalyzer : DiagnosticAnalyzer
{
    private static readonly HashSet<string> Mutators =
    [
        "Add", "AddRange", "AddFirst", "AddLast", "AddOrUpdate", "Append", "AppendLine", "Clear", "Dequeue", "Enqueue", "GetOrAdd", "Insert", "InsertRange", "Pop", "Push", "Remove", "RemoveAll",
        "RemoveAt", "Reverse", "Sort", "TryAdd", "TryDequeue", "TryPop", "TryRemove", "TryTake", "TryUpdate", "UnionWith",
    ];

    private static readonly HashSet<string> Indeterminate =
    [
        "System.DateTime.Now", "System.DateTime.UtcNow", "System.DateTime.Today", "System.DateTimeOffset.Now", "System.DateTimeOffset.UtcNow", "System.Random.Shared", "System.Environment.TickCount",
        "System.Environment.TickCount64", "System.Guid.NewGuid", "System.Guid.CreateVersion7", "System.Diagnostics.Stopwatch.GetTimestamp", "System.Security.Cryptography.RandomNumberGenerator.GetBytes",
        "System.Security.Cryptography.RandomNumberGenerator.GetInt32",
    ];

    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } =
        [Rules.This, Rules.Handle, Rules.Unshippable, Rules.RideAlong, Rules.Write, Rules.Indeterminate, Rules.Async, Rules.Collected];

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
        if (!YarnishApi.IsCollectionCall(call.TargetMethod))
        {
            return;
        }

        var isAction = YarnishApi.IsAction(call.TargetMethod);
        foreach (var argument in YarnishApi.Functions(call))
        {
            if (Captures.Of(argument.Value) is not { } captures)
            {
                continue;
            }

            Variables(context, captures);
            This(context, captures);
            Writes(context, captures);
            AsyncFunction(context, argument);
            if (!isAction)
            {
                Determinism(context, captures);
            }
        }

        if (isAction)
        {
            Action(context, call);
        }
    }

    private static void Variables(OperationAnalysisContext context, Captures captures)
    {
        foreach (var pair in captures.Variables)
        {
            var (variable, use) = (pair.Key, pair.Value);
            var type = variable is ILocalSymbol local ? local.Type : ((IParameterSymbol)variable).Type;
            if (Travel.Find(type) is { } culprit)
            {
                if (Travel.DriverOnly(culprit.Type) is not null)
                {
                    context.ReportDiagnostic(Diagnostic.Create(Rules.Handle, use.GetLocation(), variable.Name, culprit.Where, culprit.Cure));
                }
                else
                {
                    context.ReportDiagnostic(Diagnostic.Create(Rules.Unshippable, use.GetLocation(), $"'{variable.Name}'", culprit.Where, culprit.Cure));
                }
            }
            else if (variable is ILocalSymbol collected && IsCollected(collected, context.Operation.SemanticModel!))
            {
                context.ReportDiagnostic(Diagnostic.Create(
                    Rules.Collected,
                    use.GetLocation(),
                    $"'{variable.Name}' holds a whole result or file and travels with the code of the stage. Use a Broadcast when it is large, or Join the two collections"));
            }
        }
    }

    private static void This(OperationAnalysisContext context, Captures captures)
    {
        if (captures.This is not { } use || context.ContainingSymbol.ContainingType is not { } type)
        {
            return;
        }

        var culprit = Travel.Find(type) ?? PrimaryParameter(type, context.CancellationToken);
        if (culprit is not null)
        {
            context.ReportDiagnostic(Diagnostic.Create(Rules.This, use.GetLocation(), type.Name, culprit.Where));
        }
        else if (!captures.UsesWholeThis && captures.Members.All(IsPlain))
        {
            var read = captures.Members.ToImmutableHashSet<ISymbol>(SymbolEqualityComparer.Default);
            var idle = Travel.Bases(type)
                .SelectMany(Travel.InstanceFields)
                .FirstOrDefault(field => IsCollection(field.Type) && !read.Contains(field) && !(field.AssociatedSymbol is { } property && read.Contains(property)));
            if (idle is not null)
            {
                context.ReportDiagnostic(Diagnostic.Create(Rules.RideAlong, use.GetLocation(), type.Name, idle.AssociatedSymbol?.Name ?? idle.Name));
            }
        }
    }

    // A member that reads itself and nothing else.
    private static bool IsPlain(ISymbol member) => member is IFieldSymbol or IParameterSymbol
        || (member is IPropertySymbol property && property.ContainingType.GetMembers().OfType<IFieldSymbol>().Any(field => SymbolEqualityComparer.Default.Equals(field.AssociatedSymbol, property)));

    // The compiler makes a field of a constructor's parameter when a method uses it; such fields are no members that could be asked for.
    private static Culprit? PrimaryParameter(INamedTypeSymbol type, System.Threading.CancellationToken cancellation)
    {
        if (type.IsRecord || type.InstanceConstructors.SelectMany(constructor => constructor.Parameters).Where(Captures.IsOfPrimaryConstructor).ToArray() is not { Length: > 0 } parameters)
        {
            return null;
        }

        foreach (var parameter in parameters)
        {
            var isUsed = type.DeclaringSyntaxReferences
                .Select(reference => reference.GetSyntax(cancellation))
                .OfType<TypeDeclarationSyntax>()
                .SelectMany(declaration => declaration.Members)
                .Where(member => member is BaseMethodDeclarationSyntax || (member is BasePropertyDeclarationSyntax and not PropertyDeclarationSyntax { Initializer: not null }))
                .SelectMany(member => member.DescendantNodes().OfType<IdentifierNameSyntax>())
                .Any(name => name.Identifier.ValueText == parameter.Name);
            if (isUsed && Travel.Find(parameter.Type) is { } culprit)
            {
                return culprit.WithinParameter(type, parameter);
            }
        }

        return null;
    }

    private static void Writes(OperationAnalysisContext context, Captures captures)
    {
        foreach (var operation in captures.Operations)
        {
            var target = operation switch
            {
                IAssignmentOperation assignment => assignment.Target,
                IIncrementOrDecrementOperation increment => increment.Target,
                IArgumentOperation { Parameter.RefKind: RefKind.Ref or RefKind.Out } argument => argument.Value,
                IInvocationOperation { Instance: { } instance } call when Mutators.Contains(call.TargetMethod.Name) && IsMutable(instance.Type) => instance,
                _ => null,
            };
            if (target is not null && Owner(target, captures, operation is IInvocationOperation) is { } name)
            {
                context.ReportDiagnostic(Diagnostic.Create(Rules.Write, target.Syntax.GetLocation(), name));
            }
        }
    }

    // The captured thing that a target is part of.
    private static string? Owner(IOperation target, Captures captures, bool isInside) => target switch
    {
        ILocalReferenceOperation { Local: var local } => captures.IsCaptured(local) ? local.Name : null,
        IParameterReferenceOperation { Parameter: var parameter } => captures.IsCaptured(parameter) || captures.Members.Contains(parameter, SymbolEqualityComparer.Default) ? parameter.Name : null,
        IArrayElementReferenceOperation element => Owner(element.ArrayReference, captures, true),
        // A static collection that only this function fills is a cache of the executor: a common and sound thing.
        IFieldReferenceOperation { Field.IsStatic: true } field => isInside ? null : field.Field.Name,
        IPropertyReferenceOperation { Property.IsStatic: true } property => isInside ? null : property.Property.Name,
        IMemberReferenceOperation { Instance: IInstanceReferenceOperation { ReferenceKind: InstanceReferenceKind.ContainingTypeInstance } } member => member.Member.Name,
        IMemberReferenceOperation { Instance: { } instance } => Owner(instance, captures, true),
        _ => null,
    };

    private static bool IsMutable(ITypeSymbol? type) => type is not null && type.ContainingNamespace?.ToDisplayString() is { } space
        && ((space.StartsWith("System.Collections", StringComparison.Ordinal) && !space.EndsWith("Immutable", StringComparison.Ordinal)) || type.Name == "StringBuilder");

    private static void AsyncFunction(OperationAnalysisContext context, IArgumentOperation argument)
    {
        if (Unwrap(argument.Value) is not IAnonymousFunctionOperation { Symbol.IsAsync: true } function
            || argument.Parameter!.OriginalDefinition.Type is not INamedTypeSymbol { DelegateInvokeMethod: { } expected })
        {
            return;
        }

        var message = expected.ReturnsVoid ? "Nobody waits for this asynchronous function, and its errors end the executor. Give a synchronous one, or use the overload that takes a task"
            : expected.ReturnType.TypeKind == TypeKind.TypeParameter ? "This asynchronous function returns tasks, which cannot leave the executor. Give a synchronous one, or use SelectAsync"
            : null;
        if (message is not null)
        {
            context.ReportDiagnostic(Diagnostic.Create(Rules.Async, function.Syntax.GetLocation(), message));
        }
    }

    private static void Determinism(OperationAnalysisContext context, Captures captures)
    {
        foreach (var operation in captures.Operations)
        {
            var name = operation switch
            {
                IPropertyReferenceOperation { Property: { IsStatic: true } property } => NameOf(property),
                IInvocationOperation { TargetMethod: { IsStatic: true } method } => NameOf(method),
                IObjectCreationOperation { Arguments.Length: 0, Type: { Name: "Random", ContainingNamespace.Name: "System" } } => "new Random()",
                _ => null,
            };
            if (name == "new Random()" || (name is not null && Indeterminate.Contains(name)))
            {
                context.ReportDiagnostic(Diagnostic.Create(Rules.Indeterminate, operation.Syntax.GetLocation(), name.Substring(name.LastIndexOf('.', Math.Max(0, name.LastIndexOf('.') - 1)) + 1)));
            }
        }

        static string NameOf(ISymbol member) => $"{member.ContainingType.ContainingNamespace.ToDisplayString()}.{member.ContainingType.Name}.{member.Name}";
    }

    private static void Action(OperationAnalysisContext context, IInvocationOperation call)
    {
        if (call.Parent is IExpressionStatementOperation && call.TargetMethod.ReturnType.Name is "Task" or "ValueTask")
        {
            context.ReportDiagnostic(Diagnostic.Create(
                Rules.Async, call.Syntax.GetLocation(), $"Nobody awaits {call.TargetMethod.Name}: its job runs on alone, and its errors are lost. Await it"));
        }

        if (call.TargetMethod.Name == "CollectAsync")
        {
            for (var at = call.Parent; at is not null and not IAnonymousFunctionOperation and not ILocalFunctionOperation; at = at.Parent)
            {
                if (at is ILoopOperation)
                {
                    context.ReportDiagnostic(Diagnostic.Create(
                        Rules.Collected, call.Syntax.GetLocation(), "CollectAsync inside a loop brings all rows to the driver each time. Persist the collection, and let the executors reduce it first"));
                    break;
                }
            }
        }
    }

    // var rows = await collection.CollectAsync(), or a file read whole.
    private static bool IsCollected(ILocalSymbol local, SemanticModel model)
    {
        if (local.DeclaringSyntaxReferences.FirstOrDefault()?.GetSyntax() is not VariableDeclaratorSyntax { Initializer.Value: { } value } || value.SyntaxTree != model.SyntaxTree)
        {
            return false;
        }

        var made = model.GetOperation(value);
        while (made is IAwaitOperation or IConversionOperation)
        {
            made = made is IAwaitOperation wait ? wait.Operation : ((IConversionOperation)made).Operand;
        }

        return made is IInvocationOperation { TargetMethod: var method }
            && ((method.Name == "CollectAsync" && YarnishApi.IsCollectionCall(method))
                || (method.Name.StartsWith("ReadAll", StringComparison.Ordinal) && method.ContainingType is { Name: "File", ContainingNamespace: { Name: "IO", ContainingNamespace.Name: "System" } }));
    }

    private static bool IsCollection(ITypeSymbol type) => type.SpecialType != SpecialType.System_String
        && (type.TypeKind == TypeKind.Array || type.AllInterfaces.Any(of => of.SpecialType == SpecialType.System_Collections_IEnumerable));

    private static IOperation Unwrap(IOperation value) => value switch
    {
        IConversionOperation conversion => Unwrap(conversion.Operand),
        IDelegateCreationOperation creation => Unwrap(creation.Target),
        _ => value,
    };
}
